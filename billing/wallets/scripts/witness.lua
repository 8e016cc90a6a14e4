-- What a move changed must not be lost unseen: an empty entry stands for it in the journal.
--
-- A Redis that comes back older is known by the entry at PostgreSQL's cursor, which it does not
-- have. Without entries the cursor would stand still, however many accounts came and went.
local function bear_witness(stream)
  local now = redis.call('TIME')
  local received = now[1] .. string.format('%06d', tonumber(now[2]))
  return redis.call('XADD', stream, '*', 'v', '2', 'r', received, 'n', '0', 'p', '')
end
