-- Take what PostgreSQL learnt of an account by the journal of another shard.
-- Goes after resolve.lua and witness.lua.
--
-- KEYS 1 epoch, 2 stream, 3 accounts that are gone, 4 tokens of news, 5 open holds
-- ARGV 1 epoch, 2 account, 3 the token noted when this was put together, 4 the token of this,
--      5 prefix of holds, 6 prefix of wallets, 7 prefix of quotas, 8 seconds for which a resolved
--      hold is remembered, 9 life of a counter in seconds, 10 what is told (MessagePack):
--      {list of {name of a hold, hold},
--       list of {quota, from which entry on it was counted or '', what it had used before or ''}};
--      numbers as text but those of holds
--
-- Of two holds of a name the later one counts, and of one its end.
--
-- Answer: {-3} fenced, {0} the account is on its way, or something is not as it was, {1} taken.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end
if redis.call('HEXISTS', KEYS[3], ARGV[2]) == 1 then return {0} end
if (redis.call('HGET', KEYS[4], ARGV[2]) or '') ~= ARGV[3] then return {0} end
local holds, bases = unpack(cmsgpack.unpack(ARGV[10]))
for _, one in ipairs(bases) do
  local found = redis.call('HMGET', ARGV[7] .. one[1], 'from', 'base')
  if (found[1] or '') ~= one[2] or (found[2] ~= false) ~= (one[3] ~= '') then return {0} end
end

local places = {KEYS[5], ARGV[5], ARGV[6], ARGV[7], ARGV[8]}
for _, one in ipairs(holds) do
  local name, hold = one[1], one[2]
  local mine = find_hold(places, name)
  local is_open = mine and mine[STATE] == 'open'
  if not mine or (hold[HASH] ~= '' and hold[CREATED] > mine[CREATED]) then
    if is_open then resolve_hold(places, name, mine, 'released', hold[CREATED]) end
    if hold[STATE] == 'open' then
      redis.call('SET', places[2] .. name, cmsgpack.pack(hold))
      bind_hold(places, name, hold, ARGV[9])
    else
      redis.call('SET', places[2] .. name, cmsgpack.pack(hold), 'EX', ARGV[8])
    end
  elseif is_open and hold[STATE] ~= 'open' and hold[CREATED] >= mine[CREATED] then
    resolve_hold(places, name, mine, hold[STATE], hold[RESOLVED])
  end
end
for _, one in ipairs(bases) do
  if one[3] ~= '' then
    redis.call('HSET', ARGV[7] .. one[1], 'base', one[3])
    redis.call('EXPIRE', ARGV[7] .. one[1], ARGV[9])
  end
end
redis.call('HSET', KEYS[4], ARGV[2], ARGV[4])
bear_witness(KEYS[2])
return {1}
