-- What wallets hold, at one instant.
--
-- KEYS 1 epoch, 2… wallets
-- ARGV 1 epoch
--
-- Answer: {-3} fenced, else {1, balance, floor, balance, floor, …}; both empty for no such wallet.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end
local answer = {1}
for i = 2, #KEYS do
  local wallet = redis.call('HMGET', KEYS[i], 'bal', 'floor')
  answer[#answer + 1] = wallet[1] or ''
  answer[#answer + 1] = wallet[2] or ''
end
return answer
