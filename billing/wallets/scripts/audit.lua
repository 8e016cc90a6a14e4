-- What wallets hold at one instant, and the journal entries that PostgreSQL had not applied.
--
-- KEYS 1 epoch, 2 stream, 3… wallets
-- ARGV 1 epoch, 2 PostgreSQL's cursor, 3 how many entries at most
--
-- Answer: {-3} fenced, else {1, entries after the cursor (one more than asked for if there are too
-- many), then for each wallet its balance and the last adjustment applied; both empty for none}.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end
local answer = {1, redis.call('XRANGE', KEYS[2], '(' .. ARGV[2], '+', 'COUNT', ARGV[3] + 1)}
for i = 3, #KEYS do
  local wallet = redis.call('HMGET', KEYS[i], 'bal', 'aseq')
  answer[#answer + 1] = wallet[1] or ''
  answer[#answer + 1] = wallet[2] or ''
end
return answer
