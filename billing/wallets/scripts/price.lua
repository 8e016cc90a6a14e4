-- Prices that depend on the count of the period; the twin of billing/rating/cumulative.py.
--
-- A price is {free, size, steps}, a step {above, price, base, base_micros}: see there. Counts are
-- in millionths of a unit. Every number on the way stays an integer below 2^53.
local LIMIT = 9007199254740992
local MICROS = 1000000

local function whole(number, by)
  return (number - math.fmod(number, by)) / by
end

-- What a count costs in wallet units, rounded once; nil if a wallet cannot hold it.
local function cost_at(price, count)
  local units = count - price[1]
  if units <= 0 then return 0 end
  local steps, size, amount = price[3], price[2], nil
  if size > 0 then
    local packages = whole(units, size)
    if packages * size < units then packages = packages + 1 end
    amount = packages * steps[1][2]
  else
    local number = #steps
    while steps[number][1] >= units do number = number - 1 end
    local step = steps[number]
    local inside = units - step[1]
    local part = math.fmod(inside, MICROS)
    amount = step[3] + whole(inside, MICROS) * step[2]
      + whole(part * step[2] + step[4] + MICROS / 2, MICROS)
  end
  return amount < LIMIT and amount or nil
end

-- What `quantity` more costs when `before` were counted; nil if it cannot be counted.
local function cost_between(price, before, quantity)
  if before + quantity >= LIMIT then return nil end
  local reached, stood = cost_at(price, before + quantity), cost_at(price, before)
  return reached and stood and reached - stood
end
