-- Give second debits back, each once.
--
-- KEYS 1 epoch, 2 the hash of what was given back already, 3… wallets
-- ARGV 1 epoch, 2… for each of KEYS 3…: `ms-seq:place`, amount
--
-- Answer: {-3} fenced, else {1, how many were given back now}.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end
local given = 0
for i = 3, #KEYS do
  local name, amount = ARGV[2 * i - 4], ARGV[2 * i - 3]
  if redis.call('HEXISTS', KEYS[2], name) == 0 and redis.call('HEXISTS', KEYS[i], 'bal') == 1 then
    redis.call('HINCRBY', KEYS[i], 'bal', amount)
    redis.call('HSET', KEYS[2], name, amount)
    given = given + 1
  end
end
return {1, given}
