-- The tree of a packet: every field of what was found in it.

local MOST_ITEMS = 100000 -- of one packet; Wireshark gives a packet up at a million
local SHOW = {} -- by what was found
local WIDE = {} -- fields of 64 bits in Wireshark, which some layouts write with fewer

for _, each in ipairs(FIELDS) do WIDE[each.name] = each.type == "uint64" end

-- The bytes of a packet, and how many items there are still to be.
local function new_page(tvb, tree)
  return { tvb = tvb, tree = tree, left = MOST_ITEMS, length = tvb:len() }
end

local function range(page, at, size)
  return page.tvb:range(at, size)
end

-- Add one field of the wire table, whose bytes `s` stand at `at`; false if they are not all there.
local function add_field(page, item, field, at)
  if at + field.size > page.length or page.left <= 0 then return false end
  page.left = page.left - 1
  local name, size = field.name, field.size
  local place = range(page, at, size)
  if field.kind == "unused" then
    local added = item:add(F[name], place)
    return added, place:raw()
  elseif field.kind == "bits" then
    local flags = item:add(F[name], place, size == 8 and place:le_uint64() or UInt64.new(place:le_uint()))
    local word = byte(place:raw(), 1)
    for bit, each in ipairs(field.bits) do
      flags:add(F["craft." .. each], place, floor(word / 2 ^ (bit - 1)) % 2 == 1)
    end
    if not FIXED then return flags end
    local known = word < 2 ^ #field.bits and is_zero(place:raw(), 1, size - 1)
    if not known then flags:add_proto_expert_info(E.odd_value, "Bits that no release sets") end
    return flags
  elseif field.kind == "boolean" then
    local added = item:add(F[name], place, not is_zero(place:raw(), 0, size))
    if byte(place:raw(), 1) > 1 or not is_zero(place:raw(), 1, size - 1) then
      added:add_proto_expert_info(E.odd_value, "A boolean that is neither 0 nor 1")
    end
    return added
  elseif WIDE[name] and size < 8 then
    return item:add(F[name], place, UInt64.new(place:le_uint()))
  end
  return item:add_le(F[name], place)
end

-- Add fields that follow one another, as far as they are there, up to `stop`; returns the place behind the last one.
local function add_fields(page, item, fields, at, stop, mark)
  for _, field in ipairs(fields) do
    if at + field.size > stop then return at, true end
    local added, unused = add_field(page, item, field, at)
    if not added then return at, true end
    if unused and find(unused, "[^\0]") then
      added:add_proto_expert_info(mark or E.stale)
    end
    at = at + field.size
  end
  return at
end

local function add_generated(page, item, name, value)
  page.left = page.left - 1
  return item:add(F[name], value):set_generated()
end

-- Structures

local function add_server(page, item, at, server)
  local shown = item:add(F["craft.server"], range(page, at + server.at, #server.text + 10))
  local id = page.tvb:raw(at + server.at, 8)
  shown:set_text("Server " .. decimal(id, 0) .. ": " .. printable(server.text) .. ", "
    .. (ROLES[server.role] or "role " .. server.role))
  add_field(page, shown, SERVER[1], at + server.at)
  shown:add(F["craft.server.address"], range(page, at + server.at + 8, #server.text + 1), printable(server.text))
  add_field(page, shown, SERVER[3], at + server.at + 9 + #server.text)
  if not ROLES[server.role] then shown:add_proto_expert_info(E.odd_value, "Servers refuse this role") end
  if is_zero(id, 0, 8) then shown:add_proto_expert_info(E.odd_value, "Servers abort at an id of 0") end
  page.left = page.left - 2
end

local function add_configuration(page, item, at, size)
  local s = page.tvb:raw(at, size)
  local shown = item:add(F["craft.configuration"], range(page, at, size))
  local servers, stop = configuration_in(s)
  if not servers then
    shown:add_proto_expert_info(E.malformed, "The configuration does not decode: " .. stop)
    return
  end
  shown:append_text(" of " .. #servers .. " servers")
  add_fields(page, shown, CONFIGURATION, at, at + size)
  for number, server in ipairs(servers) do
    if page.left <= 0 then
      shown:add_proto_expert_info(E.many, count(#servers - number + 1) .. " more servers")
      return
    end
    add_server(page, shown, at, server)
  end
  if stop < size then
    local padding = shown:add(F["craft.configuration.padding"], range(page, at + stop, size - stop))
    if not is_zero(s, stop, size - stop) then padding:add_proto_expert_info(E.stale) end
  end
end

-- One entry, its header at `at` and its data at `data`; `h` and `in_h` are its header in a string.
local function add_entry(page, item, at, data, h, in_h, index, is_last)
  local kind, size = byte(h, in_h + ENTRY_TYPE + 1), u32(h, in_h + ENTRY_SIZE)
  local shown = item:add(F["craft.entry"], range(page, at, ENTRY_LENGTH))
  shown:set_text("Entry " .. tostring(index) .. ": " .. (ENTRY_TYPES[kind] or "type " .. kind) .. " of term "
    .. decimal(h, in_h) .. ", " .. count(size) .. " bytes")
  add_generated(page, shown, "craft.entry.index", index)
  add_fields(page, shown, ENTRY, at, at + ENTRY_LENGTH)
  if not ENTRY_TYPES[kind] then shown:add_proto_expert_info(E.odd_value, "Servers refuse this type of entry") end
  if size % 8 ~= 0 and not is_last then shown:add_proto_expert_info(E.unaligned) end
  if size == 0 or data >= page.length then return end
  shown:add(F["craft.entry.data"], range(page, data, min(size, page.length - data)))
  if kind == CHANGE and data + size <= page.length then add_configuration(page, shown, data, size) end
  page.left = page.left - 2
end

local function add_entries(page, item, at, stop, h, data)
  local n = #h >= APPEND_HEAD and u64(h, APPEND_HEAD - 8) or 0
  local there = min(n, floor((stop - at) / ENTRY_LENGTH))
  local before = AT[APPEND_ENTRIES]["craft.prev_log_index"]
  local index = UInt64.new(u32(h, before), u32(h, before + 4))
  for entry = 0, there - 1 do
    if page.left <= 0 then
      item:add_proto_expert_info(E.many, count(n - entry) .. " more entries")
      break
    end
    local in_h = APPEND_HEAD + entry * ENTRY_LENGTH
    add_entry(page, item, at + entry * ENTRY_LENGTH, data, h, in_h, index + (entry + 1), entry == n - 1)
    data = data + u32(h, in_h + ENTRY_SIZE)
  end
  return at + there * ENTRY_LENGTH, there < n
end

-- Messages

-- The length of a payload, exactly: that of a snapshot may be any number of 64 bits.
local function payload_value(message, h)
  if message.kind ~= INSTALL_SNAPSHOT then
    return UInt64.new(message.payload % WORD, floor(message.payload / WORD))
  end
  local at = SNAPSHOT_HEAD + u64(h, SNAPSHOT_HEAD - 8)
  return UInt64.new(u32(h, at), u32(h, at + 4))
end

local function add_about(page, item, message, form, h)
  local labels = layouts_of(message.kind, message.version, message.header_length, h)
  if labels ~= "" then add_generated(page, item, "craft.layouts", labels) end
  if form and form.dialect then add_generated(page, item, "craft.dialect", form.dialect) end
  if message.payload then add_generated(page, item, "craft.payload_length", payload_value(message, h)) end
  local handshake = message.direction.handshake
  if handshake and handshake.id then
    add_generated(page, item, "craft.sender_id", UInt64.new(u32(handshake.id, 0), u32(handshake.id, 4)))
  end
  local receiver = receiver_id(message.direction)
  if receiver then
    add_generated(page, item, "craft.receiver_id", UInt64.new(u32(receiver, 0), u32(receiver, 4)))
  end
  if message.partial then add_generated(page, item, "craft.partial", true) end
  if message.response then add_generated(page, item, "craft.response_in", message.response.frame) end
  if message.request then
    add_generated(page, item, "craft.response_to", message.request.frame)
    local seconds = message.time - message.request.time
    local whole = floor(seconds)
    add_generated(page, item, "craft.response_time", NSTime.new(whole, floor((seconds - whole) * 1e9 + 0.5)))
  end
end

local function add_remarks(item, message, h, form)
  local kind = message.kind
  if #h == message.header_length and form and not form.variable and form.size ~= message.header_length then
    item:add_proto_expert_info(E.odd_length)
  end
  if #(MESSAGES[kind].forms) == 0 then item:add_proto_expert_info(E.reserved_type) end
  if message.partial then item:add_proto_expert_info(E.partial) end
  if message.skipped then
    item:add_proto_expert_info(E.passed_over, count(message.skipped) .. " bytes passed over before this message")
  end
  if kind == TIMEOUT_NOW then item:add_proto_expert_info(E.transfer) end
  local rejected, granted = AT[kind]["craft.rejected"], AT[kind]["craft.vote_granted"]
  if rejected and #h >= rejected + 8 and not is_zero(h, rejected, 8) then
    item:add_proto_expert_info(E.rejected, "Rejected: index " .. decimal(h, rejected))
  end
  if granted and #h >= granted + 8 and is_zero(h, granted, 8) then item:add_proto_expert_info(E.not_granted) end
end

-- The part of variable size and what follows it, up to `stop`; returns the place behind it.
local function add_variable(page, item, form, at, stop, h, payload)
  if form.variable == "entries" then
    local behind, is_cut = add_entries(page, item, at, stop, h, payload)
    return behind, is_cut
  end
  local size = u64(h, SNAPSHOT_HEAD - 8)
  if at + size > stop then return at, true end
  if size > 0 then
    add_configuration(page, item, at, size)
  else
    item:add_proto_expert_info(E.malformed, "A configuration of 0 bytes")
  end
  return at + size
end

function SHOW.message(page, unit)
  local message, at = unit.message, unit.at
  local h = page.tvb:raw(at + PREAMBLE_LENGTH, unit.header)
  local form = form_of(message.kind, message.version, message.header_length, h)
  local words = words_of(message, h, form)
  local item = page.tree:add(craft, range(page, at, unit.size))
  item:set_text("C-Raft " .. words)
  add_fields(page, item, PREAMBLE, at, page.length, E.reserved)
  add_about(page, item, message, form, h)
  add_remarks(item, message, h, form)
  local start = at + PREAMBLE_LENGTH
  local stop, payload = start + #h, start + message.header_length
  local is_cut, behind = not form, start
  if form then behind, is_cut = add_fields(page, item, form.head, start, stop) end
  if not is_cut and form.variable then behind, is_cut = add_variable(page, item, form, behind, stop, h, payload) end
  if not is_cut then behind, is_cut = add_fields(page, item, form.tail, behind, stop) end
  local is_rest_odd = not is_cut or not form or #h == message.header_length
  if is_rest_odd and behind < stop then item:add(F["craft.extra"], range(page, behind, stop - behind)) end
  if message.kind == INSTALL_SNAPSHOT and payload < at + unit.size then
    item:add(F["craft.data"], range(page, payload, at + unit.size - payload))
  end
  return words
end

local function add_handshake(page, item, at, size, kind)
  local fields = kind == "raft" and RAFT_HANDSHAKE or DQLITE_HANDSHAKE
  add_generated(page, item, "craft.handshake", kind)
  local behind = add_fields(page, item, { (table.unpack or unpack)(fields, 1, #fields - 1) }, at, at + size)
  local s = page.tvb:raw(behind, at + size - behind)
  if #s == 0 then return "" end
  local nul = find(s, "\0", 1, true) or #s
  local address = printable(string.gsub(sub(s, 1, nul), "\0$", "") .. "")
  item:add(F["craft.handshake.address"], range(page, behind, nul), address)
  if nul < #s then
    local padding = item:add(F["craft.handshake.padding"], range(page, behind + nul, #s - nul))
    if not is_zero(s, nul, #s - nul) then padding:add_proto_expert_info(E.stale) end
  end
  return address
end

function SHOW.handshake(page, unit)
  local handshake = unit.handshake
  local item = page.tree:add(craft, range(page, unit.at, unit.size))
  local address = add_handshake(page, item, unit.at, unit.size, handshake.kind)
  local words = "Handshake (" .. handshake.kind .. ") server " .. decimal(handshake.id, 0) .. " at " .. address
  item:set_text("C-Raft " .. words)
  return words
end

function SHOW.malformed(page, unit)
  local item = page.tree:add(craft, range(page, unit.at, unit.size))
  if unit.handshake then
    add_handshake(page, item, unit.at, unit.size, unit.handshake)
    item:add_proto_expert_info(E.refused_handshake, "Handshake: " .. unit.detail)
  else
    add_fields(page, item, PREAMBLE, unit.at, page.length, E.reserved)
    item:add_proto_expert_info(E.malformed, unit.detail)
  end
  item:set_text("C-Raft [malformed] " .. unit.detail)
  return "[malformed] " .. unit.detail
end

function SHOW.client(page, unit)
  local item = page.tree:add(craft, range(page, unit.at, unit.size))
  local request = byte(page.tvb:raw(unit.at + 12, 1), 1)
  item:add(F["craft.client"], range(page, unit.at + 12, 1), request)
  local words = "client of dqlite, first request " .. (DQLITE_REQUESTS[request] or request)
  item:set_text("No Raft: " .. words)
  return words
end

function SHOW.http(page, unit)
  local item = page.tree:add(craft, range(page, unit.at, unit.size))
  local line = string.match(page.tvb:raw(unit.at, unit.size), "^[^\r\n]*")
  item:add(F["craft.http"], range(page, unit.at, #line), printable(line))
  item:set_text("HTTP before the handshake: " .. printable(line))
  return printable(line)
end

function SHOW.passed(page, unit)
  local item = page.tree:add(craft, range(page, unit.at, unit.size))
  add_generated(page, item, "craft.passed_over", UInt64.new(unit.size))
  item:set_text("C-Raft, " .. count(unit.size) .. " bytes in which no message begins")
  return "[no message begins here]"
end

function SHOW.gap(page, unit)
  local item = page.tree:add(craft, range(page, 0, 1))
  add_generated(page, item, "craft.gap", UInt64.new(unit.missing))
  item:add_proto_expert_info(E.gap, count(unit.missing) .. " bytes are missing before this segment, or come later: see the "
    .. "preference tcp.reassemble_out_of_order")
  item:set_text("C-Raft, " .. count(unit.missing) .. " bytes are missing before this segment")
end

function SHOW.payload(page, unit)
  local item = page.tree:add(craft, range(page, unit.at, unit.size))
  if unit.of and unit.of.frame then add_generated(page, item, "craft.payload_of", unit.of.frame) end
  item:set_text("C-Raft, payload of a message that began before")
  return "[payload]"
end

function SHOW.old(page, unit)
  page.tree:add(craft, range(page, unit.at, unit.size)):set_text("C-Raft, bytes that were there before")
  return "[sent again]"
end
