-- From the bytes that Wireshark hands over to handshakes and messages. Wireshark puts segments together when it is asked
-- to; where a hole, a short snaplen or the begin of the capture has broken the chain of messages, the next message that
-- is consistent in itself is looked for, and believed when what follows it fits too.

local ONE_MORE = DESEGMENT_ONE_MORE_SEGMENT
local LARGEST_SOUGHT_HEADER = 4 * 1024 * 1024 -- bytes; where framing was lost no longer one is believed
local FIRST_LOOK = 1024 -- bytes of the header behind a message that are judged
local LARGEST_OPENING = 8192 -- bytes at the start of a stream begun midway in which a handshake must end
local ENDLESS = 1073741824 -- bytes; the end of such a payload is not waited for, nor counted

local STEPS = {} -- by what a direction is doing: from one place in the bytes to the next

-- What is known of one direction of a connection.
local function new_direction()
  return {
    state = "midway",
    is_raft = false,
    next = nil, -- position of the next byte that was not understood yet
    stop = nil, -- position behind what is waited for, if that is known
    skipped = 0, -- bytes passed over since framing was lost
    quiet = true, -- whether framing was lost only because packets are cut
    hint = nil, -- position behind the last segment that began like a message and was cut
    hint_term = nil,
    large = nil, -- the message whose payload passes
  }
end

local function add(look, unit)
  look.units[#look.units + 1] = unit
  return unit
end

-- Ask Wireshark for more bytes behind those from `at` on: up to `size` in all if that is known, else the next segment.
-- (Not for a few bytes at first and then for more: where both are in one segment, the next pass would not show them.)
local function wait(direction, look, at, size)
  look.wanted_at, look.wanted = at, size and size - (look.length - at) or ONE_MORE
  direction.next = look.position + at
  direction.stop = size and direction.next + size
  return nil
end

local function seek(direction, quiet)
  direction.state, direction.skipped, direction.quiet = "lost", 0, quiet
end

local function pass(direction, look, at, size)
  if size > 0 then
    direction.skipped = direction.skipped + size
    if direction.is_raft then add(look, { what = "passed", at = at, size = size }) end
  end
end

local function malformed(direction, look, at, size, detail, handshake)
  add(look, { what = "malformed", at = at, size = size, detail = detail, handshake = handshake })
end

-- Take the message at `at`, of whose header `h` is there; returns the place behind it, which may be behind all bytes.
local function take(direction, look, at, kind, version, header_length, h, payload)
  local message = { kind = kind, version = version, header_length = header_length, payload = payload }
  local size = PREAMBLE_LENGTH + header_length + (payload or 0)
  local unit = add(look, { what = "message", at = at, size = min(size, look.length - at), header = #h, message = message })
  message.partial = size > look.length - at
  message.direction = direction
  message.skipped = direction.skipped > 0 and not direction.quiet and direction.skipped or nil
  direction.skipped = 0
  look.noted[#look.noted + 1] = { message = message, header = h }
  if not payload then
    seek(direction, true)
    return message.partial and look.length or at + size
  end
  if message.partial then direction.large = message end
  if size > ENDLESS then
    direction.state = "endless"
    return look.length
  end
  return at + size
end

-- The message at `at`, whose end will not come or is too far away.
local function take_cut(direction, look, at)
  local kind, version, header_length = preamble_at(look.bytes(at, PREAMBLE_LENGTH), 0)
  local h = look.bytes(at + PREAMBLE_LENGTH, header_length)
  local payload, problem
  if #h == header_length then
    payload, problem = payload_length(kind, h)
    if problem then return nil, problem end
  elseif kind == APPEND_ENTRIES and #h >= APPEND_HEAD then
    local size = u64(h, APPEND_HEAD - 8) * ENTRY_LENGTH
    if APPEND_HEAD + size <= #h then payload = payload_length(kind, h) end
  elseif FIXED[kind][0] or FIXED[kind][2] then
    payload = 0
  end
  if #(MESSAGES[kind].forms) == 0 then payload = nil end
  return take(direction, look, at, kind, version, header_length, h, payload)
end

-- Messages, one after the other

function STEPS.messages(direction, look, at)
  local there = look.length - at
  if there < PREAMBLE_LENGTH then
    if look.can_wait then return wait(direction, look, at) end
    seek(direction, true)
    direction.skipped = there
    return look.length
  end
  local kind, version, header_length = preamble_at(look.bytes(at, PREAMBLE_LENGTH), 0)
  if not is_acceptable(kind, header_length) then
    malformed(direction, look, at, PREAMBLE_LENGTH,
      "no message: type " .. kind .. ", header of " .. count(header_length) .. " bytes")
    seek(direction, false)
    return at, 1
  end
  local size = PREAMBLE_LENGTH + header_length
  if there < size and look.can_wait then return wait(direction, look, at) end
  local payload, problem
  if there >= size then
    payload, problem = payload_length(kind, look.bytes(at + PREAMBLE_LENGTH, header_length))
    if payload and there < size + payload and look.can_wait and size + payload <= look.largest then
      return wait(direction, look, at, size + payload)
    end
  end
  local behind
  if not problem then behind, problem = take_cut(direction, look, at) end
  if problem then
    malformed(direction, look, at, min(there, size), MESSAGES[kind].name .. ": " .. problem)
    seek(direction, false)
    return at, 1
  end
  return behind
end

function STEPS.endless(direction, look)
  add(look, { what = "payload", at = 0, size = look.length, of = direction.large })
  return look.length
end

-- What the first bytes say

local function introduce(direction, look, at, handshake)
  direction.is_raft, direction.state = true, "messages"
  direction.handshake = handshake
  add(look, { what = "handshake", at = at, size = min(handshake.length, look.length - at), handshake = handshake })
  meet(direction)
  return at + handshake.length
end

local function ignore(direction, look)
  direction.state = "other"
  return look.length
end

-- Whether a message that is consistent stands at this place of a string; nil to wait for its header.
local function message_stands(s, at)
  if #s - at < PREAMBLE_LENGTH then
    if can_begin(s, at) then return nil end
    return false
  end
  local kind, version, header_length, zero = preamble_at(s, at)
  if not is_plausible(kind, version, header_length) then return false end
  local size = min(header_length, FIRST_LOOK)
  local h = sub(s, at + PREAMBLE_LENGTH + 1, at + PREAMBLE_LENGTH + size)
  if #h < size then return nil end
  return is_consistent(kind, version, header_length, zero, h)
end

-- Take a handshake that no server takes, if a message follows it: else this is not Raft.
local function open_broken(direction, look, at, s)
  local detail, kind, length = broken_handshake(sub(s, 1, LARGEST_OPENING))
  if detail and detail ~= "more" then
    local follows = message_stands(s, length)
    if follows then
      direction.is_raft, direction.state = true, "messages"
      malformed(direction, look, at, length, detail, kind)
      return at + length
    end
    if follows == nil and look.can_wait then return wait(direction, look, at) end
  elseif detail == "more" and look.can_wait then
    return wait(direction, look, at)
  end
  return nil, true
end

function STEPS.opening(direction, look, at)
  local s = look.bytes(at, look.length - at)
  local kind, handshake, length = recognise(s, look.cut)
  if kind == "handshake" then return introduce(direction, look, at, handshake) end
  if kind == "more" then
    if look.can_wait then return wait(direction, look, at) end
    return ignore(direction, look)
  end
  if kind == "unknown" or kind == "client" then
    local behind, is_other = open_broken(direction, look, at, s)
    if not is_other then return behind end
    if kind == "client" then add(look, { what = "client", at = at, size = length }) end
    return ignore(direction, look)
  end
  if kind == "http" or kind == "upgrade" then
    if look.is_claimed or find(s, UPGRADED, 1, true) then add(look, { what = "http", at = at, size = length }) end
    if kind == "http" then return at + length end
  end
  return ignore(direction, look)
end

-- The stream's start was not seen: nothing but a handshake or a message can say what it is.
function STEPS.midway(direction, look, at)
  local s = look.bytes(at, min(look.length - at, LARGEST_OPENING))
  local is_message = false
  if #s >= PREAMBLE_LENGTH then
    is_message = is_plausible(preamble_at(s, 0))
  elseif look.can_wait then
    return wait(direction, look, at)
  end
  if not is_message then
    local kind, handshake = recognise(s, 0)
    if kind == "handshake" then return introduce(direction, look, at, handshake) end
    if kind == "more" and look.can_wait and #s < LARGEST_OPENING then return wait(direction, look, at) end
  end
  seek(direction, false)
  return at
end

function STEPS.other(_, look)
  return look.length
end

-- Finding framing again

-- Whether what stands at this place of a string agrees that a message ended there; nil to wait.
local function message_follows(direction, look, s, start, stop, kind)
  local final = not look.can_wait
  if SMALLEST[kind] then
    -- A message of a few words could be any array of numbers, unless it is all of a segment.
    if stop == #s and start == 0 and look.is_segment then return true end
    if #s - stop < PREAMBLE_LENGTH then
      if not can_begin(s, stop) then return false end
      if final then return direction.is_raft end
      return nil
    end
    local type_behind, version, header_length, zero = preamble_at(s, stop)
    local size = min(header_length, FIRST_LOOK)
    local h = sub(s, stop + PREAMBLE_LENGTH + 1, stop + PREAMBLE_LENGTH + size)
    if not is_consistent(type_behind, version, header_length, zero, h) then return false end
    if final or #h >= size then return true end
    return nil
  end
  local rest = stop == #s and look.behind or sub(s, stop + 1, stop + PREAMBLE_LENGTH)
  if rest == "" then return true end
  if #rest >= PREAMBLE_LENGTH then
    local type_behind, version, header_length, zero = preamble_at(rest, 0)
    return zero and is_plausible(type_behind, version, header_length)
  end
  if final or stop == #s then return can_begin(rest, 0) end
  return nil
end

-- Whether the header at the start of a cut segment, of which no more will come, is one: in a stream that has not shown
-- to be Raft there must have been another, in the segment just before or with the same term.
local function is_cut_header_believed(direction, look, start, h)
  if look.cut == 0 or start > 0 or not look.is_segment then return false end
  local term = #h >= 8 and sub(h, 1, 8) or nil
  local believed = direction.is_raft or direction.hint == look.position or (term and term == direction.hint_term)
  direction.hint, direction.hint_term = (look.position + look.length + look.cut) % WORD, term
  return believed
end

-- Whether a message begins at this place of a string; nil to wait, with its size if that is known.
local function judge(direction, look, s, start)
  local kind, version, header_length, zero = preamble_at(s, start)
  if header_length > LARGEST_SOUGHT_HEADER then return false end
  local h = sub(s, start + PREAMBLE_LENGTH + 1, start + PREAMBLE_LENGTH + header_length)
  if not is_consistent(kind, version, header_length, zero, h) then return false end
  if #h < header_length then
    if look.can_wait then return nil end
    return is_cut_header_believed(direction, look, start, h)
  end
  local size = PREAMBLE_LENGTH + header_length + payload_length(kind, h)
  local there = #s - start
  if size > there then
    if look.can_wait and size <= look.largest then return nil, size end
    return true
  end
  return message_follows(direction, look, s, start, start + size, kind)
end

-- The first place among the last bytes of a string where a preamble may begin.
local function possible_begin(s, from)
  for at = max(from, #s - PREAMBLE_LENGTH + 1), #s - 1 do
    local kind = byte(s, at + 1)
    if kind >= 1 and kind <= 6 and can_begin(s, at) then return at end
  end
  return #s
end

function STEPS.lost(direction, look, at, from)
  local s = look.bytes(at, look.length - at)
  local start = find_preamble(s, from or 0)
  while start do
    local verdict, size = judge(direction, look, s, start)
    if verdict == nil then
      pass(direction, look, at, start)
      return wait(direction, look, at + start, size)
    elseif verdict then
      pass(direction, look, at, start)
      direction.is_raft, direction.state = true, "messages"
      return (take_cut(direction, look, at + start))
    end
    start = find_preamble(s, start + 1)
  end
  local last = look.can_wait and possible_begin(s, from or 0) or #s
  pass(direction, look, at, last)
  if last < #s then return wait(direction, look, at + last) end
  return look.length
end

-- Pass over bytes at the start that belong to what was begun before, or that were there before.
local function skip(direction, look, ahead)
  local size = min(ahead, look.length)
  if not direction.is_raft then return size end
  add(look, { what = direction.large and "payload" or "old", at = 0, size = size, of = direction.large })
  if size == ahead then direction.large = nil end
  return size
end

-- Where in the bytes the first that is new stands; what the capture lacks before them is told.
local function first_new(direction, look)
  local ahead = direction.next and distance(direction.next, look.position) or 0
  if ahead > 0 then return skip(direction, look, ahead) end
  if ahead == 0 or direction.state == "other" or direction.state == "endless" then return 0 end
  if direction.is_raft then add(look, { what = "gap", at = 0, size = 0, missing = -ahead }) end
  local stop = direction.stop and distance(direction.stop, look.position) or -1
  if stop >= 0 and direction.state == "messages" then
    direction.next = direction.stop
    return stop > 0 and skip(direction, look, stop) or 0
  end
  if direction.state ~= "lost" then seek(direction, false) end
  direction.quiet = false
  return 0
end

-- Take what is in the bytes from the first that is new on.
local function read_all(direction, look)
  local at, from = first_new(direction, look), nil
  local total = look.length + look.cut
  if at == look.length and distance(direction.next or look.position, look.position) > total then return end
  direction.stop = nil
  while at and at < look.length do
    at, from = STEPS[direction.state](direction, look, at, from)
  end
  if not at then return end
  if at < total then
    if direction.state == "messages" then seek(direction, true) end
    at = total
  end
  direction.next = (look.position + at) % WORD
end

-- Wireshark gives all of what it has put together once more when what is wanted begins before the last segment of it:
-- then nothing of it is taken yet.
local function take_back(direction, look, before)
  for name in pairs(direction) do
    if before[name] == nil then direction[name] = nil end
  end
  for name, value in pairs(before) do direction[name] = value end
  look.units, look.noted = {}, {}
  local wanted = look.wanted
  wait(direction, look, 0)
  look.wanted = wanted
end

local function copy(values)
  local copied = {}
  for name, value in pairs(values) do copied[name] = value end
  return copied
end

-- Go through bytes, and leave in `look` what is in them and what is wanted behind them.
local function go_through(direction, look)
  local before = look.old and copy(direction)
  read_all(direction, look)
  if look.old and look.wanted and 0 < look.wanted_at and look.wanted_at <= look.old then
    take_back(direction, look, before)
  end
end
