-- Integers in strings of bytes. Places count from 0. A number of 64 bits is exact up to 2^53 only, so what is shown of
-- one is taken from its bytes, and what is compared is compared in two halves.

local WORD = 4294967296.0 -- 2^32

local function u32(s, at)
  local a, b, c, d = byte(s, at + 1, at + 4)
  return a + b * 256 + c * 65536 + d * 16777216
end

local function u64(s, at)
  return u32(s, at) + u32(s, at + 4) * WORD
end

-- Whether the 64 bits at one place are less than those at another one.
local function less(s, at, t, other)
  local high, high_of_other = u32(s, at + 4), u32(t, other + 4)
  if high ~= high_of_other then return high < high_of_other end
  return u32(s, at) < u32(t, other)
end

local function is_zero(s, at, size)
  return not find(sub(s, at + 1, at + size), "[^\0]")
end

-- A number of 64 bits in decimal.
local function decimal(s, at)
  local high = u32(s, at + 4)
  if high < 2097152 then return format("%.0f", u32(s, at) + high * WORD) end
  return tostring(UInt64.new(u32(s, at), high))
end

-- A number of bytes in decimal.
local function count(number)
  return format("%.0f", number)
end

-- How far one position of a stream is behind another, where positions wrap as TCP's sequence numbers do.
local function distance(position, from)
  local far = (position - from) % WORD
  if far >= WORD / 2 then return far - WORD end
  return far
end

-- Text from the wire that is safe to show.
local function printable(s)
  return (string.gsub(s, "[^\32-\126]", function(c) return format("\\x%02x", byte(c)) end))
end
