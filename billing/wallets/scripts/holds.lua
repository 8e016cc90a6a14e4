-- Holds: money and quota set aside for what was authorised and has not happened yet.
-- Goes after resolve.lua and moved.lua.
--
-- KEYS 1 epoch, 2 open holds by the millisecond in which they expire, 3 stream
-- ARGV 1 epoch, 2 now (milliseconds since 1970), 3 prefix of holds, 4 prefix of wallets,
--      5 prefix of quotas, 6 seconds for which a resolved hold is remembered, 7 what is asked
--
-- What is asked is a list (MessagePack); each part begins with what it is:
--   {'h', name, hash, wallet, amount, grace, expires, quotas}  hold this
--   {'a', name, hash, wallet, amount, grace, expires, quotas}  would a hold be given?
--   {'r', name}  release;  {'g', name}  get
-- `grace` is how far below the floor the balance may go; a quota is {name, quantity, limit, hard}.
-- Holds, wallets and quotas are not named in KEYS; they have the hash tag of those that are.
--
-- Before anything is answered, holds that have expired are resolved. What became of holds is
-- written into the journal (`h`: list of {name, hold}, MessagePack), so that PostgreSQL has them too.
--
-- Answer: {-3} when fenced; else {1, list} with a part for each that was asked, in order:
--   {verdict, balance, available, hold if there is one}
-- Verdicts: ok, warned (over a soft quota), grace, no_funds, over_quota, no_wallet; of a name that
-- is known: same, other; of a release: released, resolved (before); none; found; moved, if the
-- account is being moved or was moved. A name begins with the account's id in hex.
-- `available` is what may still be authorised, down to the floor.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end

local MOST_EXPIRED = 1000
local QUOTA_SECONDS = 100 * 24 * 3600
local now = tonumber(ARGV[2])
local is_gone = who_is_gone(string.sub(KEYS[2], 1, -2) .. 'gone', now)
local places = {KEYS[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]}
local changes = {}

local function resolve(name, hold, state)
  resolve_hold(places, name, hold, state, now)
  changes[#changes + 1] = {name, hold}
end

local function money(wallet)
  if wallet == '' then return 0, 0, 0 end
  local found = redis.call('HMGET', ARGV[4] .. wallet, 'bal', 'held', 'floor')
  return tonumber(found[1]), tonumber(found[2] or 0), tonumber(found[3] or 0)
end

local function judge(asked)
  local wallet, amount, grace = asked[4], asked[5], asked[6]
  local balance, held, floor = money(wallet)
  if not balance then return 'no_wallet', 0, 0 end
  local left, verdict = balance - held - floor, 'ok'
  if wallet ~= '' and (left <= 0 or left < amount) then
    if left + grace <= 0 or left + grace < amount then return 'no_funds', balance, left end
    verdict = 'grace'
  end
  for _, quota in ipairs(asked[8]) do
    local used = redis.call('HMGET', ARGV[5] .. quota[1], 'base', 'used', 'held')
    local sum = tonumber(used[1] or 0) + tonumber(used[2] or 0) + tonumber(used[3] or 0)
    if sum + quota[2] > quota[3] then
      if quota[4] then return 'over_quota', balance, left end
      if verdict == 'ok' then verdict = 'warned' end
    end
  end
  return verdict, balance, left
end

local function place(asked)
  local name, wallet, amount = asked[2], asked[4], asked[5]
  local known, created = find_hold(places, name), now
  if known and known[HASH] == '' then -- captured before; this is a later one, whatever clocks say
    created = math.max(now, known[CREATED] + 1)
  elseif known then
    return {known[HASH] == asked[3] and 'same' or 'other', known[8], known[9], known}
  end
  local verdict, balance, left = judge(asked)
  if verdict ~= 'ok' and verdict ~= 'warned' and verdict ~= 'grace' then
    return {verdict, balance, left}
  end
  if wallet ~= '' then left = left - amount end
  local quotas = {}
  for i, quota in ipairs(asked[8]) do quotas[i] = {quota[1], quota[2]} end
  local hold = {'open', amount, created, asked[7], 0, asked[3], wallet, balance, left, verdict, quotas}
  bind_hold(places, name, hold, QUOTA_SECONDS)
  redis.call('SET', ARGV[3] .. name, cmsgpack.pack(hold))
  changes[#changes + 1] = {name, hold}
  return {verdict, balance, left, hold}
end

local expired = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[2], 'LIMIT', 0, MOST_EXPIRED)
for _, name in ipairs(expired) do
  local hold = find_hold(places, name)
  if hold then resolve(name, hold, 'expired') else redis.call('ZREM', KEYS[2], name) end
end

local answers = {}
for i, asked in ipairs(cmsgpack.unpack(ARGV[7])) do
  local kind, name = asked[1], asked[2]
  if is_gone and is_gone(string.sub(name, 1, 32)) then
    answers[i] = {'moved', 0, 0}
  elseif kind == 'h' then
    answers[i] = place(asked)
  elseif kind == 'a' then
    answers[i] = {judge(asked)}
  else
    local hold = find_hold(places, name)
    if not hold or hold[HASH] == '' then
      answers[i] = {'none', 0, 0}
    elseif kind == 'g' then
      answers[i] = {'found', 0, 0, hold}
    elseif hold[STATE] == 'open' then
      resolve(name, hold, 'released')
      answers[i] = {'released', 0, 0, hold}
    else
      answers[i] = {'resolved', 0, 0, hold}
    end
  end
end
if #changes > 0 then
  redis.call('XADD', KEYS[3], '*', 'v', '2', 'r', string.format('%.0f', now * 1000), 'n', '0',
    'p', '', 'h', cmsgpack.pack(changes))
end
return {1, cmsgpack.pack(answers)}
