-- What Wireshark calls: it gives the bytes of a segment, or of several that it has put together.

local field_seq, field_len, field_flags = Field.new("tcp.seq_raw"), Field.new("tcp.len"), Field.new("tcp.flags.syn")
local field_relative, field_stream = Field.new("tcp.seq"), Field.new("tcp.stream")
local field_completeness = Field.new("tcp.completeness")
local field_payload = Field.new("tcp.payload")
local field_tls = Field.new("tls.record.content_type")

local directions = {} -- by connection and sender
local looks = {} -- what was found, by frame: each call of the dissector with what it was given
local ports = { tcp = "", tls = "" }

function craft.init()
  directions, looks = {}, {}
  forget_answers()
end

local function last_value(field)
  local all = { field() }
  local info = all[#all]
  return info and info.value
end

-- What TCP says of the segment that this frame brings; without a position where there is no tree, or inside TLS.
local function transport()
  local seq = not field_tls() and last_value(field_seq)
  local stream = last_value(field_stream)
  if not seq then return { key = stream } end
  if last_value(field_flags) then seq = seq + 1 end
  return {
    key = stream,
    seq = seq,
    length = last_value(field_len),
    relative = last_value(field_relative),
    completeness = last_value(field_completeness),
  }
end

local function direction_of(pinfo, segment)
  local source, destination = tostring(pinfo.src), tostring(pinfo.dst)
  local key = table.concat({ segment.key or "", source, pinfo.src_port, destination, pinfo.dst_port }, " ")
  local direction = directions[key]
  if not direction then
    direction = new_direction()
    direction.source, direction.destination = source, destination
    direction.target = endpoint(destination, pinfo.dst_port)
    directions[key] = direction
  end
  return direction
end

-- The position of the first byte of a stream; nil if its SYN was not captured, or Wireshark does not say where it was.
local function origin(segment)
  local complete = segment.completeness
  if not complete or complete % 4 == 0 or segment.relative == segment.seq then return nil end
  return (segment.seq - segment.relative + 1) % WORD
end

-- Where bytes that were put together stand, if they are the first of their direction.
local function first_position(segment, size)
  if not segment.seq then return 0 end
  return origin(segment) or (segment.seq + segment.length - size) % WORD
end

-- What stands behind the bytes that Wireshark has put together, in the last segment that it took for them.
local function see_behind(look, segment, stop)
  local behind = distance(segment.seq + segment.length, stop)
  look.old = max(distance(segment.seq, look.position), 0)
  local payload = behind > 0 and behind < segment.length and field_payload()
  if payload then look.behind = payload.range:raw(payload.len - behind, min(behind, PREAMBLE_LENGTH)) end
end

-- Whether a direction begins with these bytes; where TCP's numbers are not known they must say it themselves.
local function is_first(segment, look)
  if segment.seq then return origin(segment) == look.position end
  local s = look.bytes(0, LARGEST_HTTP_HEAD)
  local kind = recognise(s, look.cut)
  return kind ~= "unknown" and (kind ~= "more" or #s >= 8 and is_protocol(s))
end

local function new_look(tvb, pinfo, direction, segment)
  local length, reported = tvb:len(), tvb:reported_len()
  local look = { units = {}, noted = {}, offset = tvb:offset(), length = length, cut = reported - length, behind = "" }
  local is_direct = segment.seq and look.offset > 0
  if is_direct then
    look.position = (segment.seq + segment.length - reported) % WORD
    look.is_segment = reported == segment.length
  else
    look.position = direction.next or first_position(segment, reported)
    look.is_segment = not segment.seq and look.offset > 0
    if segment.seq then see_behind(look, segment, look.position + reported) end
  end
  look.can_wait = look.cut == 0 and pinfo.can_desegment > 0
  look.largest = craft.prefs.largest * 1048576
  look.bytes = function(at, size)
    size = min(size, length - at)
    return size > 0 and tvb:raw(at, size) or ""
  end
  return look
end

-- Look at bytes that were not seen before.
local function look_at(tvb, pinfo, is_claimed)
  local segment = transport()
  local direction = direction_of(pinfo, segment)
  local look = new_look(tvb, pinfo, direction, segment)
  look.is_claimed = is_claimed
  if not direction.next and is_first(segment, look) then direction.state = "opening" end
  go_through(direction, look)
  for _, each in ipairs(look.noted) do note(each.message, each.header, pinfo.number, pinfo.rel_ts) end
  look.noted = nil
  look.bytes = nil
  look.is_raft = direction.is_raft
  return look
end

-- How often the same bytes were given while this frame is dissected: TLS can give several records of one length.
local function times_given(pinfo, offset, length)
  local key = "craft " .. offset .. " " .. length
  local times = tonumber(pinfo.private[key] or "0") + 1
  pinfo.private[key] = tostring(times)
  return times
end

-- What was found in these bytes when they were seen first. Later Wireshark may leave out those that wait for others.
local function recall(tvb, pinfo)
  local offset, length = tvb:offset(), tvb:reported_len()
  local times = times_given(pinfo, offset, length)
  for _, look in ipairs(looks[pinfo.number] or {}) do
    local is_same = look.length + look.cut == length or look.wanted_at == length
    if look.offset == offset and is_same then
      times = times - 1
      if times == 0 then return look end
    end
  end
end

local function remember(pinfo, look)
  looks[pinfo.number] = looks[pinfo.number] or {}
  table.insert(looks[pinfo.number], look)
end

local function write_columns(pinfo, words)
  pinfo.cols.protocol = "C-Raft"
  if #words == 0 then return end
  pinfo.cols.info:set(table.concat(words, "; "))
  pinfo.cols.info:fence()
end

local function show(tvb, pinfo, tree, look)
  local page = new_page(tvb, tree)
  local words = {}
  for _, unit in ipairs(look.units) do
    words[#words + 1] = SHOW[unit.what](page, unit)
  end
  write_columns(pinfo, words)
end

local function dissect(tvb, pinfo, tree, is_claimed)
  local look = recall(tvb, pinfo)
  if pinfo.visited and not look then return 0 end
  if not pinfo.visited then
    look = look_at(tvb, pinfo, is_claimed)
    remember(pinfo, look)
  end
  if not (look.is_raft or #look.units > 0 or look.wanted) then return 0 end
  show(tvb, pinfo, tree, look)
  if look.wanted and look.wanted_at < tvb:len() then
    pinfo.desegment_offset = look.wanted_at
    pinfo.desegment_len = look.wanted
  end
  return tvb:len()
end

function craft.dissector(tvb, pinfo, tree)
  return dissect(tvb, pinfo, tree, true)
end

-- Whether bytes that nobody claims are C-Raft: the start of a stream that is a handshake, or a message that is
-- consistent in every byte and fills the segment or is followed by another.
local function is_evident(tvb, pinfo)
  local segment = transport()
  local length = tvb:len()
  local s = tvb:raw(0, min(length, LARGEST_HTTP_HEAD))
  local kind, _, stop = recognise(s, tvb:reported_len() - length)
  if kind == "handshake" then return true end
  local may_begin = not segment.seq or origin(segment) == segment.seq
  if kind == "more" and #s >= 8 and may_begin and is_protocol(s) then return true end
  if kind == "upgrade" and find(sub(s, 1, stop), UPGRADED, 1, true) then return true end
  if #s < PREAMBLE_LENGTH then return false end
  local type_, version, header_length, zero = preamble_at(s, 0)
  local h = sub(s, PREAMBLE_LENGTH + 1, PREAMBLE_LENGTH + header_length)
  if #h < header_length or not is_consistent(type_, version, header_length, zero, h) then return false end
  local size = PREAMBLE_LENGTH + header_length + payload_length(type_, h)
  if size >= tvb:reported_len() then return size == tvb:reported_len() or not SMALLEST[type_] end
  return message_stands(s, size) == true
end

local function dissect_unclaimed(tvb, pinfo, tree)
  if not craft.prefs.heuristic or pinfo.visited or not is_evident(tvb, pinfo) then return false end
  pinfo.conversation = craft
  return dissect(tvb, pinfo, tree, false) > 0
end

-- The same inside TLS, which asks anew for each record.
local function dissect_unclaimed_in_tls(tvb, pinfo, tree)
  if not craft.prefs.heuristic then return false end
  local direction = direction_of(pinfo, transport())
  local is_known = pinfo.visited or direction.is_raft or direction.state == "opening"
  return (is_known or is_evident(tvb, pinfo)) and dissect(tvb, pinfo, tree, false) > 0
end

function craft.prefs_changed()
  for name, chosen in pairs({ tcp = craft.prefs.tcp_ports, tls = craft.prefs.tls_ports }) do
    if ports[name] ~= chosen then
      local known = DissectorTable.get(name .. ".port")
      if ports[name] ~= "" then known:remove(ports[name], craft) end
      if chosen ~= "" then known:add(chosen, craft) end
      ports[name] = chosen
    end
  end
end

DissectorTable.get("tcp.port"):add_for_decode_as(craft)
DissectorTable.get("tls.port"):add_for_decode_as(craft)
craft:register_heuristic("tcp", dissect_unclaimed)
craft:register_heuristic("tls", dissect_unclaimed_in_tls)
do
  local has, upgrades = pcall(DissectorTable.get, "http.upgrade")
  if has and upgrades then upgrades:add("dqlite", craft) end
end
