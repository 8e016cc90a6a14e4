-- Let go of an account that was moved away: once for each move, since it may come back.
--
-- Goes after witness.lua.
--
-- KEYS 1 epoch, 2 stream, 3 accounts that are gone, 4 the mark of this move, 5 open holds
-- ARGV 1 epoch, 2 life of the mark in seconds, 3 account, 4 prefix of holds, 5 (MessagePack)
--      {keys that go, names of holds}
--
-- Answer: {-3} fenced, {0} it has gone already, {1} it is gone.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end
if not redis.call('SET', KEYS[4], '1', 'NX', 'EX', ARGV[2]) then return {0} end
redis.call('HSET', KEYS[3], ARGV[3], '0')
local keys, holds = unpack(cmsgpack.unpack(ARGV[5]))
for _, key in ipairs(keys) do redis.call('UNLINK', key) end
for _, name in ipairs(holds) do
  redis.call('UNLINK', ARGV[4] .. name)
  redis.call('ZREM', KEYS[5], name)
end
bear_witness(KEYS[2])
return {1}
