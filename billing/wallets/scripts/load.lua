-- Put a wallet into Redis that is not there yet.
--
-- KEYS 1 epoch, 2 wallet
-- ARGV 1 epoch, 2 balance, 3 applied sequence number, 4 floor, 5 low balance
--
-- Answer: {-3} fenced, {0} it is there already, {1} loaded.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end
if redis.call('HEXISTS', KEYS[2], 'bal') == 1 then return {0} end
redis.call('HSET', KEYS[2], 'bal', ARGV[2], 'aseq', ARGV[3], 'floor', ARGV[4], 'low', ARGV[5])
return {1}
