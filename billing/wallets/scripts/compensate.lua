-- Give second debits back, each once.
--
-- KEYS 1 epoch, 2 the hash of what was given back already, 3… wallets
-- ARGV 1 epoch, 2… for each of KEYS 3…: `ms-seq:place`, amount, the counter it had moved or ''
--      (MessagePack: a list of {key, field, millionths of a unit})
--
-- A wallet that has been moved away took the second debit with it into nothing, and would come back
-- as PostgreSQL has it: for it they count as given back, without a change.
--
-- Answer: {-3} fenced, else {1, how many were given back now}.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end
local given = 0
for i = 3, #KEYS do
  local name, amount, moved = ARGV[3 * i - 7], ARGV[3 * i - 6], ARGV[3 * i - 5]
  if redis.call('HEXISTS', KEYS[2], name) == 0 then
    if redis.call('HEXISTS', KEYS[i], 'bal') == 1 then
      redis.call('HINCRBY', KEYS[i], 'bal', amount)
      if moved ~= '' then
        for _, one in ipairs(cmsgpack.unpack(moved)) do
          redis.call('HINCRBY', one[1], one[2], string.format('%.0f', -one[3]))
        end
      end
      given = given + 1
    end
    redis.call('HSET', KEYS[2], name, amount)
  end
end
return {1, given}
