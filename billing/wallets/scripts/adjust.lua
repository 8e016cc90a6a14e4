-- Apply adjustments that PostgreSQL has committed, each once and in order, and set the limits.
--
-- KEYS 1 epoch, 2 wallet
-- ARGV 1 epoch, 2 floor, 3 low balance, then three of each: sequence number, amount (signed text),
--      counters it moves or '' (MessagePack: a list of {key, field, millionths of a unit})
--
-- Answer: {-3} fenced, {-2} no such wallet, {-4} an amount is out of range,
-- else {1, last applied sequence number}. A gap stops at the last number before it.
local LIMIT = 9007199254740992

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end
local wallet = redis.call('HMGET', KEYS[2], 'bal', 'aseq')
if not wallet[1] then return {-2} end
local balance, applied = tonumber(wallet[1]), tonumber(wallet[2])
local sum, moved = 0, {}
for i = 4, #ARGV, 3 do
  if tonumber(ARGV[i]) == applied + 1 then
    sum = sum + tonumber(ARGV[i + 1])
    applied = applied + 1
    if ARGV[i + 2] ~= '' then moved[#moved + 1] = cmsgpack.unpack(ARGV[i + 2]) end
    if math.abs(sum) >= LIMIT or math.abs(balance + sum) >= LIMIT then return {-4} end
  end
end
-- the only write that can fail comes first
if sum ~= 0 then redis.call('HINCRBY', KEYS[2], 'bal', string.format('%.0f', sum)) end
for _, counters in ipairs(moved) do
  for _, one in ipairs(counters) do
    redis.call('HINCRBY', one[1], one[2], string.format('%.0f', one[3]))
    redis.call('EXPIRE', one[1], 8640000) -- as in keys.py
  end
end
redis.call('HSET', KEYS[2], 'aseq', string.format('%.0f', applied), 'floor', ARGV[2],
  'low', ARGV[3])
return {1, applied}
