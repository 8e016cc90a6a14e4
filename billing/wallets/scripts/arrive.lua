-- Let an account in that was moved here: once for each move.
-- Goes after resolve.lua and witness.lua.
--
-- KEYS 1 epoch, 2 stream, 3 accounts that are gone, 4 the mark of this move, 5 open holds,
--      6 tokens of news
-- ARGV 1 epoch, 2 life of the mark in seconds, 3 prefix of wallets, 4 prefix of holds, 5 prefix of
--      quotas, 6 life of a counter in seconds, 7 what comes (MessagePack):
--      {account, list of {wallet, {field, value…}}, list of {counter, field, millionths of a unit},
--       list of {name of a hold, hold}, list of {quota, used}, names of open holds that are here from
--       before, names of all its quotas}; all numbers as text but those of holds
--      8 seconds for which a hold is remembered
--
-- Until it arrives the account is among those that are gone, so nobody can have used its wallet
-- here. If it is not, a rebuild has written wallet and holds, and what happened since is in them; what
-- quotas have used is then summed up anew.
--
-- Answer: {-3} fenced, {0, witness} it is here already, {1, witness} it has come. The witness is the
-- id of the entry that stands for this in the journal.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end
local known = redis.call('GET', KEYS[4])
if known then return {0, known} end
local account, wallets, counters, holds, quotas, stale, names = unpack(cmsgpack.unpack(ARGV[7]))
local is_first = redis.call('HDEL', KEYS[3], account) == 1
if is_first then
  redis.call('HDEL', KEYS[6], account) -- what it stands for may not be in what comes
  for _, name in ipairs(names) do redis.call('UNLINK', ARGV[5] .. name) end
  for _, name in ipairs(stale) do
    redis.call('UNLINK', ARGV[4] .. name)
    redis.call('ZREM', KEYS[5], name)
  end
  for _, wallet in ipairs(wallets) do
    redis.call('DEL', ARGV[3] .. wallet[1])
    redis.call('HSET', ARGV[3] .. wallet[1], unpack(wallet[2]))
  end
  for _, one in ipairs(counters) do
    redis.call('HSET', one[1], one[2], one[3])
    redis.call('EXPIRE', one[1], ARGV[6])
  end
  for _, one in ipairs(holds) do
    local name, hold = one[1], one[2]
    if hold[STATE] ~= 'open' then
      redis.call('SET', ARGV[4] .. name, cmsgpack.pack(hold), 'EX', ARGV[8])
    else
      redis.call('SET', ARGV[4] .. name, cmsgpack.pack(hold))
      bind_hold({KEYS[5], ARGV[4], ARGV[3], ARGV[5]}, name, hold, ARGV[6])
    end
  end
end
-- Redis counts what comes after the last entry, as quota_bases.py does; before it is what came along
local last = bear_witness(KEYS[2])
redis.call('SET', KEYS[4], last, 'EX', ARGV[2])
local ms, seq = string.match(last, '(%d+)-(%d+)')
local begins = ms .. '-' .. string.format('%.0f', tonumber(seq) + 1)
for _, one in ipairs(is_first and quotas or {}) do
  local key = ARGV[5] .. one[1]
  redis.call('HSETNX', key, 'from', begins)
  redis.call('HSETNX', key, 'base', one[2])
  redis.call('EXPIRE', key, ARGV[6])
end
return {1, last}
