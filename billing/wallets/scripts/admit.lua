-- Take in a batch of events for one shard: dedupe, price, debit, journal. All of it or nothing.
-- Goes after price.lua, resolve.lua and moved.lua.
--
-- KEYS 1 epoch, 2 stream, 3… wallets
-- ARGV 1 epoch, 2 received (microseconds since 1970), 3 and 4 prefixes of today's and yesterday's
--      dedupe buckets, 5 their life in seconds, 6 heads, 7 rows, 8 counters (MessagePack) or '',
--      9 the life of a counter in seconds, 10 effects (MessagePack) or ''
--
-- A head is 38 bytes: digest of the key (16), hash of the body (8), number of the wallet among
-- KEYS 3… or 0 (2), amount (8), length of the row (4). The rows follow each other in ARGV 7.
-- With COUNTED added to the number of the wallet, the price depends on what the period counted
-- before: the amount is then the quantity (millionths of a unit), two bytes with the number of
-- the counter follow the head, and the debit is written into the row.
--
-- Counters are {list of {key, field, number of the price}, list of prices}; prices see price.lua.
--
-- Effects are {places, list of {number of the event, hold or '', list of {quota, quantity}}}: what
-- else an event does if it is admitted. It captures an open hold, and counts for quotas; places
-- see resolve.lua. A hold that is unknown or over changes nothing: what happened is recorded. The
-- entry names the holds of its events (`h`: list of {name, millisecond}, MessagePack).
--
-- Redis keeps what a script wrote before it failed, so everything that can fail is looked at
-- before the first write. Dedupe buckets, counters, holds and quotas are keys not named in KEYS;
-- their names begin with the hash tag of the others, so they lie on the same node of a cluster.
--
-- A bucket is named by the first two bytes of a digest and has the 12 that follow as field. A mark is the
-- hash of the body (8), received (7), the two parts of the entry's id (6; 0, 2 or 8). Every byte of
-- it is there tens of millions of times.
--
-- Answer: {-3, epoch} when fenced; else {1, entry id or '', one letter per event, marks of the
-- duplicates in order, without the hash}. Letters: a admitted, d duplicate, c conflict, u unknown
-- wallet, r out of range, s the same key earlier in this call, m of an account that is being moved
-- or was moved.
local COUNTED = 32768
local AMOUNT_AT = 67 -- where a row of a wallet and a rate has its amount, 8 bytes

local epoch = redis.call('GET', KEYS[1])
if epoch ~= ARGV[1] then return {-3, epoch or ''} end
local is_gone = who_is_gone(string.sub(KEYS[2], 1, -2) .. 'gone', tonumber(ARGV[2]) / 1000)
local now_ms = math.floor(tonumber(ARGV[2]) / 1000)

-- 1. what there is
local balances, spent = {}, {}
for i = 3, #KEYS do
  local balance = redis.call('HGET', KEYS[i], 'bal')
  balances[i - 2] = balance and tonumber(balance)
  spent[i - 2] = 0
end

local counters, prices, counts, counted = {}, {}, {}, {}
if ARGV[8] ~= '' then
  counters, prices = unpack(cmsgpack.unpack(ARGV[8]))
  for i, counter in ipairs(counters) do
    counts[i] = tonumber(redis.call('HGET', counter[1], counter[2]) or 0)
    counted[i] = 0
  end
end

local places, effects = nil, {}
if ARGV[10] ~= '' then places, effects = unpack(cmsgpack.unpack(ARGV[10])) end

-- 2. what becomes of each event
local heads, rows = ARGV[6], ARGV[7]
local letters, marks, seen = {}, {}, {}
local admitted, buckets, fields, hashes = 0, {}, {}, {}
local firsts, ends, amounts, priced, all = {}, {}, {}, false, true
local at, row_at = 1, 1
while at < #heads do
  local digest, hash, wallet, amount, length, counter, quantity
  digest, hash, wallet, amount, length, at = struct.unpack('>c16c8HI8I4', heads, at)
  if wallet >= COUNTED then
    wallet, quantity = wallet - COUNTED, amount
    counter, at = struct.unpack('>H', heads, at)
    amount = cost_between(prices[counters[counter][3]], counts[counter], quantity)
  end
  local bucket, field = string.format('%02x%02x', string.byte(digest, 1, 2)), string.sub(digest, 3, 14)
  local mark = redis.call('HGET', ARGV[3] .. bucket, field)
    or redis.call('HGET', ARGV[4] .. bucket, field)
  local letter = 'a'
  if mark then
    letter = string.sub(mark, 1, 8) == hash and 'd' or 'c'
    if letter == 'd' then marks[#marks + 1] = string.sub(mark, 9) end
  elseif seen[digest] then
    letter = seen[digest] == hash and 's' or 'c'
  elseif is_gone and is_gone(account_of(rows, row_at)) then
    letter = 'm'
  elseif wallet > 0 then
    if not balances[wallet] then
      letter = 'u'
    elseif not amount or spent[wallet] + amount >= LIMIT
        or balances[wallet] - spent[wallet] - amount <= -LIMIT then
      letter = 'r' -- beyond 2^53 a double no longer counts by ones
    end
  end
  if letter == 'a' then
    seen[digest] = hash
    admitted = admitted + 1
    buckets[admitted], fields[admitted], hashes[admitted] = bucket, field, hash
    firsts[admitted], ends[admitted] = row_at, row_at + length - 1
    if counter then
      counts[counter] = counts[counter] + quantity
      counted[counter] = counted[counter] + quantity
      amounts[admitted], priced = amount, true
    end
    if wallet > 0 then spent[wallet] = spent[wallet] + amount end
  else
    all = false
  end
  letters[#letters + 1] = letter
  row_at = row_at + length
end

-- The rows of the events that are admitted; most often the very bytes that came.
local function admitted_rows()
  if all and not priced then return rows end
  local parts = {}
  for i = 1, admitted do
    local amount = amounts[i]
    if amount then
      parts[#parts + 1] = string.sub(rows, firsts[i], firsts[i] + AMOUNT_AT - 2)
      parts[#parts + 1] = struct.pack('>I8', amount)
      parts[#parts + 1] = string.sub(rows, firsts[i] + AMOUNT_AT + 7, ends[i])
    else
      parts[#parts + 1] = string.sub(rows, firsts[i], ends[i])
    end
  end
  return table.concat(parts)
end

-- 3. from here on everything is written, and nothing can fail
local id = ''
if admitted > 0 then
  for wallet, amount in ipairs(spent) do
    -- HINCRBY refuses '-0'
    if amount > 0 then
      redis.call('HINCRBY', KEYS[wallet + 2], 'bal', string.format('-%.0f', amount))
    end
  end
  for i, quantity in ipairs(counted) do
    if quantity > 0 then
      redis.call('HINCRBY', counters[i][1], counters[i][2], string.format('%.0f', quantity))
      redis.call('EXPIRE', counters[i][1], ARGV[9])
    end
  end
  local entry = {'v', '2', 'r', ARGV[2], 'n', admitted, 'p', admitted_rows()}
  local captured = {}
  for _, effect in ipairs(effects) do
    if letters[effect[1]] == 'a' and effect[2] ~= '' then
      captured[#captured + 1] = {effect[2], now_ms}
    end
  end
  if #captured > 0 then
    entry[9], entry[10] = 'h', cmsgpack.pack(captured)
  end
  id = redis.call('XADD', KEYS[2], '*', unpack(entry))
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  local mark = struct.pack('>I7I6', tonumber(ARGV[2]), tonumber(ms))
  if seq ~= '0' then
    mark = mark .. struct.pack(#seq < 5 and '>I2' or '>I8', tonumber(seq))
  end
  for i = 1, admitted do
    local bucket = ARGV[3] .. buckets[i]
    redis.call('HSET', bucket, fields[i], hashes[i] .. mark)
    if redis.call('HLEN', bucket) == 1 then redis.call('EXPIRE', bucket, ARGV[5]) end
  end
end
for _, effect in ipairs(effects) do
  if letters[effect[1]] == 'a' then
    for _, quota in ipairs(effect[3]) do
      local key = places[4] .. quota[1]
      redis.call('HSETNX', key, 'from', id)
      redis.call('HINCRBY', key, 'used', string.format('%.0f', quota[2]))
      redis.call('EXPIRE', key, ARGV[9])
    end
    if effect[2] ~= '' then
      local hold = find_hold(places, effect[2])
      if not hold then
        note_capture(places, effect[2], now_ms)
      elseif hold[STATE] == 'open' then
        resolve_hold(places, effect[2], hold, 'captured', now_ms)
      end
    end
  end
end
return {1, id, table.concat(letters), marks}
