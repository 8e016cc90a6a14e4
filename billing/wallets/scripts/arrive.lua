-- Let an account in that was moved here: once for each move.
-- Goes after resolve.lua and witness.lua.
--
-- KEYS 1 epoch, 2 stream, 3 accounts that are gone, 4 the mark of this move, 5 open holds
-- ARGV 1 epoch, 2 life of the mark in seconds, 3 prefix of wallets, 4 prefix of holds, 5 prefix of
--      quotas, 6 life of a counter in seconds, 7 what comes (MessagePack):
--      {account, list of {wallet, {field, value…}}, list of {counter, field, millionths of a unit},
--       list of {name of a hold, hold}, list of {quota, used}}; all numbers as text
--
-- Until it arrives the account is among those that are gone, so nobody can have used its wallet
-- here. If it is not, a rebuild has written the wallet, and what happened since is in it.
--
-- Answer: {-3} fenced, {0} it is here already, {1} it has come.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end
if not redis.call('SET', KEYS[4], '1', 'NX', 'EX', ARGV[2]) then return {0} end
local account, wallets, counters, holds, quotas = unpack(cmsgpack.unpack(ARGV[7]))
if redis.call('HDEL', KEYS[3], account) == 1 then
  for _, wallet in ipairs(wallets) do
    redis.call('DEL', ARGV[3] .. wallet[1])
    redis.call('HSET', ARGV[3] .. wallet[1], unpack(wallet[2]))
  end
  for _, one in ipairs(counters) do
    redis.call('HSET', one[1], one[2], one[3])
    redis.call('EXPIRE', one[1], ARGV[6])
  end
end
for _, one in ipairs(holds) do
  local hold = one[2]
  if redis.call('SET', ARGV[4] .. one[1], cmsgpack.pack(hold), 'NX') then
    redis.call('ZADD', KEYS[5], hold[4], one[1])
    if hold[WALLET] ~= '' and hold[AMOUNT] > 0 then
      redis.call('HINCRBY', ARGV[3] .. hold[WALLET], 'held', string.format('%.0f', hold[AMOUNT]))
    end
    for _, quota in ipairs(hold[QUOTAS]) do
      if quota[2] > 0 then
        redis.call('HINCRBY', ARGV[5] .. quota[1], 'held', string.format('%.0f', quota[2]))
        redis.call('EXPIRE', ARGV[5] .. quota[1], ARGV[6])
      end
    end
  end
end
-- Redis counts what comes after the last entry, as quota_bases.py does; before it is what came along
local last = bear_witness(KEYS[2])
local ms, seq = string.match(last, '(%d+)-(%d+)')
local begins = ms .. '-' .. string.format('%.0f', tonumber(seq) + 1)
for _, one in ipairs(quotas) do
  local key = ARGV[5] .. one[1]
  redis.call('HSETNX', key, 'from', begins)
  redis.call('HSETNX', key, 'base', one[2])
  redis.call('EXPIRE', key, ARGV[6])
end
return {1}
