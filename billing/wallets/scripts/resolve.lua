-- Binding what a hold sets aside, and ending a hold, shared by those who can: admit.lua captures,
-- holds.lua places, releases and lets expire, arrive.lua brings some along.
--
-- A hold is {state, amount, created, expires, resolved, hash, wallet, balance, available, verdict,
-- quotas}; instants are milliseconds since 1970, quotas a list of {name, quantity}.
-- `places` is {open holds, prefix of holds, prefix of wallets, prefix of quotas, seconds for which
-- a resolved hold is remembered}.
--
-- If a hold is captured of which nothing is known, that is noted as a hold without a hash: the hold
-- may be in the journal of another shard, and is over when news of it comes.
local STATE, AMOUNT, CREATED, EXPIRES, RESOLVED, HASH, WALLET, QUOTAS = 1, 2, 3, 4, 5, 6, 7, 11

local function find_hold(places, name)
  local packed = redis.call('GET', places[2] .. name)
  return packed and cmsgpack.unpack(packed)
end

local function note_capture(places, name, now)
  local hold = {'captured', 0, now, now, now, '', '', 0, 0, 'none', {}}
  redis.call('SET', places[2] .. name, cmsgpack.pack(hold), 'EX', places[5])
end

local function bind_hold(places, name, hold, quota_seconds)
  redis.call('ZADD', places[1], hold[EXPIRES], name)
  if hold[WALLET] ~= '' and hold[AMOUNT] > 0 then
    redis.call('HINCRBY', places[3] .. hold[WALLET], 'held', string.format('%.0f', hold[AMOUNT]))
  end
  for _, quota in ipairs(hold[QUOTAS]) do
    if quota[2] > 0 then
      redis.call('HINCRBY', places[4] .. quota[1], 'held', string.format('%.0f', quota[2]))
      redis.call('EXPIRE', places[4] .. quota[1], quota_seconds)
    end
  end
end

local function resolve_hold(places, name, hold, state, now)
  redis.call('ZREM', places[1], name)
  if hold[WALLET] ~= '' and hold[AMOUNT] > 0 then
    redis.call('HINCRBY', places[3] .. hold[WALLET], 'held', string.format('-%.0f', hold[AMOUNT]))
  end
  for _, quota in ipairs(hold[QUOTAS]) do
    if quota[2] > 0 then
      redis.call('HINCRBY', places[4] .. quota[1], 'held', string.format('-%.0f', quota[2]))
    end
  end
  hold[STATE], hold[RESOLVED] = state, now
  redis.call('SET', places[2] .. name, cmsgpack.pack(hold), 'EX', places[5])
end
