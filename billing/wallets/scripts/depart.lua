-- Let go of an account that was moved away: once for each move, since it may come back.
--
-- Goes after witness.lua.
--
-- KEYS 1 epoch, 2 stream, 3 accounts that are gone, 4 the mark of this move, 5 open holds,
--      6 tokens of news
-- ARGV 1 epoch, 2 life of the mark in seconds, 3 account, 4 prefix of holds, 5 (MessagePack)
--      {keys that go, names of holds}
--
-- Answer: {-3} fenced, {0, witness} it has gone already, {1, witness} it is gone. The witness is the
-- id of the entry that stands for this in the journal.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end
local known = redis.call('GET', KEYS[4])
if known then return {0, known} end
redis.call('HSET', KEYS[3], ARGV[3], '0')
redis.call('HDEL', KEYS[6], ARGV[3])
local keys, holds = unpack(cmsgpack.unpack(ARGV[5]))
for _, key in ipairs(keys) do redis.call('UNLINK', key) end
for _, name in ipairs(holds) do
  redis.call('UNLINK', ARGV[4] .. name)
  redis.call('ZREM', KEYS[5], name)
end
local last = bear_witness(KEYS[2])
redis.call('SET', KEYS[4], last, 'EX', ARGV[2])
return {1, last}
