-- Take nothing of an account in for a while, or for good; or let it in again.
--
-- KEYS 1 epoch, 2 stream, 3 accounts that are gone
-- ARGV 1 epoch, 2 account, 3 the millisecond until which this holds, 0 for good; '' ends what does
--      not hold for good, '-' ends all
--
-- Answer: {-3} fenced, else {1, id of the last entry or ''}: nothing of the account comes after it.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end
local for_good = redis.call('HGET', KEYS[3], ARGV[2]) == '0'
if ARGV[3] == '-' or (ARGV[3] == '' and not for_good) then
  redis.call('HDEL', KEYS[3], ARGV[2])
elseif ARGV[3] ~= '' and not for_good then
  redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
return {1, last[1] and last[1][1] or ''}
