-- Which result answers which request. Results carry no request number and come on another connection, so they are
-- matched by term and index and by the order in which servers answer: a request that gives a follower nothing to write
-- is answered at once, one with new entries when they are written, so results of the former overtake those of the latter.

local LARGEST_QUEUE = 1024 -- requests that wait; the oldest are given up first

local lines = {} -- the latest direction by who sends and who receives
local hosts = {} -- the same by hosts alone; false where several servers share them
local ids = {} -- ids of servers by where they listen

local function forget_answers()
  lines, hosts, ids = {}, {}, {}
end

local function endpoint(host, port)
  return find(host, ":", 1, true) and "[" .. host .. "]:" .. port or host .. ":" .. port
end

-- The names of a direction's sender: what it advertises, and where it connects from with the port that it advertises.
local function names(direction)
  local handshake = direction.handshake
  if not (handshake and handshake.address) then return {} end
  local port = string.match(handshake.address, ":(%d+)$")
  return { handshake.address, port and endpoint(direction.source, port) }
end

local function between_hosts(source, destination)
  return source ~= destination and source .. ">" .. destination or nil
end

-- Remember that a direction is in use.
local function meet(direction)
  for _, name in ipairs(names(direction)) do
    lines[name .. ">" .. direction.target] = direction
    if direction.handshake.id then ids[name] = direction.handshake.id end
  end
  local key = between_hosts(direction.source, direction.destination)
  if key then
    local other = hosts[key]
    if other == false or (other and other.target ~= direction.target) then
      hosts[key] = false
    else
      hosts[key] = direction
    end
  end
end

-- The direction that goes back: from the server that a direction goes to, to the one that it comes from.
local function opposite(direction)
  for _, name in ipairs(names(direction)) do
    local found = lines[direction.target .. ">" .. name]
    if found then return found end
  end
  local key = between_hosts(direction.destination, direction.source)
  return key and hosts[key] or nil
end

local function receiver_id(direction)
  local back = opposite(direction)
  if back and back.handshake then return back.handshake.id end
  return ids[direction.target]
end

-- The requests of one direction that wait for results; those before `first` have left.
local function queue_of(direction, name)
  direction[name] = direction[name] or { first = 1, last = 0 }
  return direction[name]
end

local function push(queue, request)
  queue.last = queue.last + 1
  queue[queue.last] = request
  if queue.last - queue.first >= LARGEST_QUEUE then
    queue[queue.first] = nil
    queue.first = queue.first + 1
  end
end

local function pop(queue)
  local request = queue[queue.first]
  if request then
    queue[queue.first] = nil
    queue.first = queue.first + 1
  end
  return request
end

local function remove(queue, place)
  local request = queue[place]
  for behind = place, queue.last do queue[behind] = queue[behind + 1] end
  queue.last = queue.last - 1
  return request
end

-- The first that waits for a success in a term; those of earlier terms get none any more.
local function first_of_term(queue, term)
  local request = queue[queue.first]
  while request and request.term < term do
    pop(queue)
    request = queue[queue.first]
  end
  return request and request.term == term and request or nil
end

local function waits_for(queue, index)
  for place = queue.first, min(queue.last, queue.first + 63) do
    if queue[place].stop == index then return true end
  end
  return false
end

-- Whether a success is for entries, and not for one of the other requests that wait.
local function is_for_write(writes, write, quick, index)
  if write.stop == index or quick.stop == index then
    return write.stop == index and (quick.stop ~= index or write.number < quick.number)
  end
  return write.number < quick.number or waits_for(writes, index)
end

-- The first request whose last entry is the one that was written last, or else simply the first.
local function written(writes, quick, index)
  if waits_for(writes, index) then
    while writes[writes.first].stop ~= index do pop(writes) end
  end
  local request = pop(writes)
  local overtaken = quick[quick.first]
  while overtaken and overtaken.number < request.number do
    pop(quick)
    overtaken = quick[quick.first]
  end
  return request
end

local function succeeded(direction, term, index)
  local writes, quick = queue_of(direction, "writes"), queue_of(direction, "quick")
  local first_write, first_quick = first_of_term(writes, term), first_of_term(quick, term)
  local is_ready = first_write and first_write.stop <= index
  if is_ready and (not first_quick or is_for_write(writes, first_write, first_quick, index)) then
    return written(writes, quick, index)
  end
  return first_quick and pop(quick)
end

-- What a rejection of an index answers: the first request that names it, or the one after it.
local function refused(direction, term, index)
  for _, before in ipairs({ index, index - 1 }) do
    local found, found_in, found_at
    for _, name in ipairs({ "quick", "writes" }) do
      local queue = queue_of(direction, name)
      for place = queue.first, queue.last do
        local request = queue[place]
        if request.index == before and request.term <= term then
          if not found or request.number < found.number then found, found_in, found_at = request, queue, place end
          break
        end
      end
    end
    if found then return remove(found_in, found_at) end
  end
  return nil
end

-- The snapshot that a result answers, if it says that it is installed or refused.
local function snapshot_answered(direction, rejected, index)
  local queue = queue_of(direction, "snapshots")
  for place = queue.first, queue.last do
    local request = queue[place]
    if rejected == request.index or (rejected == 0 and index >= request.index) then return remove(queue, place) end
  end
  return nil
end

local function vote_answered(direction, term, is_pre_vote)
  local queue = queue_of(direction, "votes")
  for place = queue.last, queue.first, -1 do
    local request = queue[place]
    if request.term == term and (is_pre_vote == nil or request.is_pre_vote == is_pre_vote) then
      return remove(queue, place)
    end
  end
  return pop(queue)
end

local NOTE = {}

NOTE[APPEND_ENTRIES] = function(direction, request, h)
  local n = u64(h, APPEND_HEAD - 8)
  request.index = u64(h, AT[APPEND_ENTRIES]["craft.prev_log_index"])
  request.stop = request.index + n
  local sent = direction.sent_term == request.term and direction.sent or 0
  push(queue_of(direction, n > 0 and request.stop > sent and "writes" or "quick"), request)
  direction.sent, direction.sent_term = max(sent, request.stop), request.term
end

NOTE[INSTALL_SNAPSHOT] = function(direction, request, h)
  request.index = u64(h, AT[INSTALL_SNAPSHOT]["craft.last_index"])
  push(queue_of(direction, "snapshots"), request)
end

NOTE[REQUEST_VOTE] = function(direction, request, h)
  local flags = AT[REQUEST_VOTE]["craft.flags"]
  request.is_pre_vote = #h >= flags + 8 and floor(byte(h, flags + 1) / 2) % 2 == 1
  push(queue_of(direction, "votes"), request)
end

NOTE[APPEND_ENTRIES_RESULT] = function(direction, result, h)
  local back = opposite(direction)
  if not back then return nil end
  local rejected = u64(h, AT[APPEND_ENTRIES_RESULT]["craft.rejected"])
  local index = u64(h, AT[APPEND_ENTRIES_RESULT]["craft.last_log_index"])
  local snapshot = snapshot_answered(back, rejected, index)
  if snapshot then return snapshot end
  if rejected == 0 then return succeeded(back, result.term, index) end
  back.sent = rejected - 1
  return refused(back, result.term, rejected)
end

NOTE[REQUEST_VOTE_RESULT] = function(direction, result, h)
  local back = opposite(direction)
  local flags = AT[REQUEST_VOTE_RESULT]["craft.flags"]
  local is_pre_vote = nil
  if #h >= flags + 1 then is_pre_vote = byte(h, flags + 1) % 2 == 1 end
  return back and vote_answered(back, result.term, is_pre_vote)
end

-- Take note of a message in a frame; a result is linked with its request.
local function note(message, h, frame, time)
  message.frame, message.time = frame, time
  local smallest = SMALLEST[message.kind] or MESSAGES[message.kind].forms[1] and APPEND_HEAD
  if not (NOTE[message.kind] and #h >= smallest) then return end
  message.term = u64(h, 0)
  local direction = message.direction
  direction.notes = (direction.notes or 0) + 1
  message.number = direction.notes
  meet(direction)
  local request = NOTE[message.kind](direction, message, h)
  if request and not request.response then
    request.response, message.request = message, request
  end
end
