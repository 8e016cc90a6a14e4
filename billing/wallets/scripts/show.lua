-- Show an epoch whose wallets are written, if its own fence is up.
--
-- KEYS 1 epoch
-- ARGV 1 what the fence says, 2 epoch
--
-- Answer: {-3} another fence or epoch is there, {1} shown.
local shown = redis.call('GET', KEYS[1])
if shown == ARGV[2] then return {1} end
if shown ~= ARGV[1] then return {-3} end
redis.call('SET', KEYS[1], ARGV[2])
return {1}
