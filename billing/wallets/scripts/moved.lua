-- Who has left this shard, shared by all that take something in.
--
-- `{b:S}:E:gone` is a hash: account (its id in hex) to the millisecond until which nothing of it
-- is taken in here, or 0 for good. It exists only if an account was ever moved away.
local function who_is_gone(gone, now)
  if redis.call('EXISTS', gone) == 0 then return nil end
  local known = {}
  return function(account)
    if known[account] == nil then
      local ends = redis.call('HGET', gone, account)
      known[account] = ends and (ends == '0' or now < tonumber(ends)) or false
    end
    return known[account]
  end
end

-- The account of a row, in hex: its second column, after the wallet's 16 bytes or nothing.
local function account_of(rows, row_at)
  local at = row_at + (struct.unpack('>i4', rows, row_at + 2) > 0 and 26 or 10)
  return (string.gsub(string.sub(rows, at, at + 15), '.', function(byte)
    return string.format('%02x', string.byte(byte))
  end))
end
