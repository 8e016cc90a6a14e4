-- Take in a batch of events for one shard: dedupe, debit, journal. All of it or nothing.
--
-- KEYS 1 epoch, 2 stream, 3… wallets
-- ARGV 1 epoch, 2 received (microseconds since 1970), 3 and 4 prefixes of today's and yesterday's
--      dedupe buckets, 5 their life in seconds, 6 heads, 7 rows
--
-- A head is 38 bytes: digest of the key (16), hash of the body (8), number of the wallet among
-- KEYS 3… or 0 (2), amount (8), length of the row (4). The rows follow each other in ARGV 7.
--
-- Redis keeps what a script wrote before it failed, so everything that can fail is looked at
-- before the first write. Dedupe buckets are keys not named in KEYS; their names begin with the
-- hash tag of the others, so they lie on the same node of a cluster.
--
-- Answer: {-3, epoch} when fenced; else {1, entry id or '', one letter per event, marks of the
-- duplicates in order}. Letters: a admitted, d duplicate, c conflict, u unknown wallet, r out of
-- range, s the same key earlier in this call.
local LIMIT = 9007199254740992

local epoch = redis.call('GET', KEYS[1])
if epoch ~= ARGV[1] then return {-3, epoch or ''} end

local balances, spent = {}, {}
for i = 3, #KEYS do
  local balance = redis.call('HGET', KEYS[i], 'bal')
  balances[i - 2] = balance and tonumber(balance)
  spent[i - 2] = 0
end

local heads, rows = ARGV[6], ARGV[7]
local letters, marks, admitted, parts, seen = {}, {}, {}, {}, {}
local at, row_at, all = 1, 1, true
while at < #heads do
  local digest, hash, wallet, amount, length
  digest, hash, wallet, amount, length, at = struct.unpack('>c16c8HI8I4', heads, at)
  local bucket = string.format('%02x%02x', string.byte(digest, 1, 2))
  local mark = redis.call('HGET', ARGV[3] .. bucket, digest)
    or redis.call('HGET', ARGV[4] .. bucket, digest)
  local letter = 'a'
  if mark then
    letter = string.sub(mark, 1, 8) == hash and 'd' or 'c'
    if letter == 'd' then marks[#marks + 1] = string.sub(mark, 9) end
  elseif seen[digest] then
    letter = seen[digest] == hash and 's' or 'c'
  elseif wallet > 0 then
    if not balances[wallet] then
      letter = 'u'
    elseif spent[wallet] + amount >= LIMIT
        or balances[wallet] - spent[wallet] - amount <= -LIMIT then
      letter = 'r' -- beyond 2^53 a double no longer counts by ones
    end
  end
  if letter == 'a' then
    seen[digest] = hash
    admitted[#admitted + 1] = {bucket, digest, hash}
    parts[#parts + 1] = string.sub(rows, row_at, row_at + length - 1)
    if wallet > 0 then spent[wallet] = spent[wallet] + amount end
  else
    all = false
  end
  letters[#letters + 1] = letter
  row_at = row_at + length
end

local id = ''
if #admitted > 0 then
  for wallet, amount in ipairs(spent) do
    -- HINCRBY refuses '-0'
    if amount > 0 then
      redis.call('HINCRBY', KEYS[wallet + 2], 'bal', string.format('-%.0f', amount))
    end
  end
  id = redis.call('XADD', KEYS[2], '*', 'v', '1', 'r', ARGV[2], 'n', #admitted,
    'p', all and rows or table.concat(parts))
  local received = struct.pack('>I8', tonumber(ARGV[2]))
  for _, one in ipairs(admitted) do
    local bucket = ARGV[3] .. one[1]
    redis.call('HSET', bucket, one[2], one[3] .. received .. id)
    if redis.call('HLEN', bucket) == 1 then redis.call('EXPIRE', bucket, ARGV[5]) end
  end
end
return {1, id, table.concat(letters), marks}
