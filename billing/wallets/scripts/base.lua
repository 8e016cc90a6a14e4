-- Say what a quota had used before Redis began to count for it.
--
-- KEYS 1 epoch, 2 accounts that are gone, 3 quota, 4 tokens of news
-- ARGV 1 epoch, 2 account, 3 from which entry on Redis counts, 4 what was used before, 5 life of the
--      key in seconds, 6 the token of the account's news from before that was summed up
--
-- Answer: {-3} fenced, {0} the account is on its way, or was told news, or it is counted from
-- elsewhere, {1} said.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return {0} end
if (redis.call('HGET', KEYS[4], ARGV[2]) or '') ~= ARGV[6] then return {0} end
if redis.call('HGET', KEYS[3], 'from') ~= ARGV[3] then return {0} end
redis.call('HSETNX', KEYS[3], 'base', ARGV[4])
redis.call('EXPIRE', KEYS[3], ARGV[5])
return {1}
