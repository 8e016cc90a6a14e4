-- Let events that PostgreSQL has be known as duplicates.
--
-- KEYS 1 epoch
-- ARGV 1 epoch, 2 prefix of a day's dedupe buckets, 3 their life in seconds, 4 length of a mark,
--      5 digests (16 bytes), each followed by its mark
--
-- Answer: {-3} fenced, else {1}. A mark that is there already is replaced: what PostgreSQL says of
-- a key is final.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {-3} end
local length, all = 16 + tonumber(ARGV[4]), ARGV[5]
for at = 1, #all, length do
  local digest = string.sub(all, at, at + 15)
  local bucket = ARGV[2] .. string.format('%02x%02x', string.byte(digest, 1, 2))
  local new = redis.call('HSET', bucket, string.sub(digest, 3, 14), string.sub(all, at + 16, at + length - 1))
  if new == 1 and redis.call('HLEN', bucket) == 1 then redis.call('EXPIRE', bucket, ARGV[3]) end
end
return {1}
