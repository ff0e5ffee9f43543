-- The messages: preambles, which form of the wire table a header has, how long a payload is, what can be believed.

local ZEROS = "\0\0\0\0\0"
local APPEND_HEAD = MESSAGES[APPEND_ENTRIES].forms[1].head_size
local SNAPSHOT_HEAD = MESSAGES[INSTALL_SNAPSHOT].forms[1].head_size
local ENTRY_TYPE, ENTRY_SIZE, ENTRY_UNUSED -- where in an entry header
local AT = {} -- where the fields before the part of variable size stand, by message type and name
local FIXED = {} -- forms of fixed size by type, version and length of the header
local SMALLEST = {} -- length of the shortest header by type, of messages of fixed size
local VERSIONS = {}

do
  local at = 0
  for _, field in ipairs(ENTRY) do
    if field.name == "craft.entry.type" then ENTRY_TYPE = at end
    if field.name == "craft.entry.size" then ENTRY_SIZE = at end
    if field.kind == "unused" then ENTRY_UNUSED = { at, field.size } end
    at = at + field.size
  end
  for number, message in pairs(MESSAGES) do
    AT[number], FIXED[number], VERSIONS[number] = {}, {}, {}
    for _, form in ipairs(message.forms) do
      VERSIONS[number][form.version] = true
      at = 0
      for _, field in ipairs(form.head) do
        AT[number][field.name] = at
        at = at + field.size
      end
      form.size = form.head_size + form.tail_size
      if not form.variable then
        FIXED[number][form.version] = FIXED[number][form.version] or {}
        FIXED[number][form.version][form.size] = form
        SMALLEST[number] = min(SMALLEST[number] or form.size, form.size)
      end
    end
  end
end

-- Type, version, length of the header, and whether the reserved bytes are zero.
local function preamble_at(s, at)
  local kind, first, version = byte(s, at + 1, at + 3)
  return kind, version, u64(s, at + 8), first == 0 and is_zero(s, at + 3, 5)
end

-- Whether a message can begin like this where one must: lenient, as real receivers are.
local function is_acceptable(kind, header_length)
  if kind == APPEND_ENTRIES or kind == INSTALL_SNAPSHOT then
    return 0 < header_length and header_length <= MAX_HEADER_LENGTH
  end
  return MESSAGES[kind] ~= nil and 0 < header_length and header_length <= 4096
end

-- Whether some release writes this type with this version and a header of this length.
local function is_plausible(kind, version, header_length)
  local versions = VERSIONS[kind]
  if not (versions and versions[version]) or header_length > MAX_HEADER_LENGTH then return false end
  if kind == APPEND_ENTRIES then return header_length >= APPEND_HEAD and header_length % 8 == 0 end
  if kind == INSTALL_SNAPSHOT then return header_length >= SNAPSHOT_HEAD + 8 and header_length % 8 == 0 end
  return FIXED[kind][version] ~= nil and FIXED[kind][version][header_length] ~= nil
end

-- Whether a preamble can begin with the last bytes of `s`, from a place on; there are fewer than 16.
local function can_begin(s, at)
  if at >= #s then return true end
  if not MESSAGES[byte(s, at + 1)] then return false end
  for place = at + 1, min(#s, at + 8) - 1 do
    local value = byte(s, place + 1)
    if value ~= 0 and not (place == at + 2 and value == 2) then return false end
  end
  return is_zero(s, at + 12, #s - at - 12)
end

-- Bytes of the payload; nil and what is wrong when the whole header `h` contradicts itself.
local function payload_length(kind, h)
  if kind == APPEND_ENTRIES then
    if #h < APPEND_HEAD then return nil, "a header of " .. #h .. " bytes is too short for AppendEntries" end
    local n = u64(h, APPEND_HEAD - 8)
    if n * ENTRY_LENGTH > #h - APPEND_HEAD then
      return nil, decimal(h, APPEND_HEAD - 8) .. " entries do not fit into a header of " .. #h .. " bytes"
    end
    local total = 0.0
    for entry = 0, n - 1 do total = total + u32(h, APPEND_HEAD + entry * ENTRY_LENGTH + ENTRY_SIZE) end
    return total
  elseif kind == INSTALL_SNAPSHOT then
    if #h < SNAPSHOT_HEAD then return nil, "a header of " .. #h .. " bytes is too short for InstallSnapshot" end
    local size = u64(h, SNAPSHOT_HEAD - 8)
    if SNAPSHOT_HEAD + size + 8 > #h then
      return nil, "a configuration of " .. decimal(h, SNAPSHOT_HEAD - 8) .. " bytes does not fit into a header of "
        .. #h .. " bytes"
    end
    return u64(h, SNAPSHOT_HEAD + size)
  end
  if SMALLEST[kind] and #h < SMALLEST[kind] then
    return nil, "a header of " .. #h .. " bytes is too short for " .. MESSAGES[kind].name
  end
  return 0
end

-- For a length that no release writes: the longest form that is there, of this version if there is one.
local function longest_form(forms, version, header_length)
  local found, same
  for _, form in ipairs(forms) do
    local better = form.version == version and not same or not found
      or (form.version == version or not same) and form.size >= found.size
    if form.size <= header_length and better then
      found, same = form, form.version == version
    end
  end
  return found
end

-- The form whose tail has the size that is left behind the part of variable size, else the newest.
local function variable_form(forms, h)
  if #forms > 1 and #h >= forms[1].head_size then
    local left = #h - forms[1].head_size - u64(h, forms[1].head_size - 8)
    for _, form in ipairs(forms) do
      if form.tail_size == left then return form end
    end
  end
  return forms[#forms]
end

-- The form of the wire table that a header has, nil for a reserved type and for a header that is too short.
local function form_of(kind, version, header_length, h)
  local forms = MESSAGES[kind].forms
  if #forms == 0 then return nil end
  if forms[1].variable then return variable_form(forms, h) end
  local wanted = LAYOUTS[craft.prefs.layout]
  for _, form in ipairs(wanted and forms or {}) do
    local has = find(" " .. form.layouts .. " ", " " .. wanted .. " ", 1, true)
    if has and form.version == version and form.size == header_length then return form end
  end
  local of_version = FIXED[kind][version]
  return of_version and of_version[header_length] or longest_form(forms, version, header_length)
end

-- Labels of the layouts that can have written a message; `h` is what is there of its header.
local function layouts_of(kind, version, header_length, h)
  local forms = MESSAGES[kind].forms
  if #forms == 0 then return "" end
  if forms[1].variable then
    local form = variable_form(forms, h)
    local stale = #h == header_length and not is_zero(h, #h - 8, 8)
    return stale and form.stale or form.layouts
  end
  local labels = {}
  for _, form in ipairs(forms) do
    if form.version == version and form.size == header_length then labels[#labels + 1] = form.layouts end
  end
  return table.concat(labels, " ")
end

-- The servers of the configuration in a string: where each stands; nil and what is wrong if it does not decode.
local function configuration_in(s)
  if #s < 9 then return nil, "a configuration of " .. #s .. " bytes is shorter than its first two fields" end
  if byte(s, 1) ~= CONFIGURATION_FORMAT then return nil, "configuration format " .. byte(s, 1) .. ", not 1" end
  local n = u64(s, 1)
  if n > floor((#s - 9) / 10) then
    return nil, decimal(s, 1) .. " servers do not fit into a configuration of " .. #s .. " bytes"
  end
  local servers, at = {}, 9
  for number = 1, n do
    local nul = find(s, "\0", at + 9, true)
    if not nul or nul >= #s then return nil, "the configuration ends inside a server" end
    servers[number] = { at = at, text = sub(s, at + 9, nul - 1), role = byte(s, nul + 1) }
    at = nul + 1
  end
  return servers, at
end

local function are_entries_consistent(h, header_length)
  if #h < APPEND_HEAD then return true end
  local n = u64(h, APPEND_HEAD - 8)
  local left = header_length - ENTRY_LENGTH * n
  if left ~= APPEND_HEAD and left ~= APPEND_HEAD + 8 then return false end
  for entry = 0, min(floor((#h - APPEND_HEAD) / ENTRY_LENGTH), n) - 1 do
    local at = APPEND_HEAD + entry * ENTRY_LENGTH
    if is_zero(h, at, 8) or less(h, 0, h, at) or not ENTRY_TYPES[byte(h, at + ENTRY_TYPE + 1)] then return false end
  end
  return true
end

local function are_flags_known(form, h)
  local at = 0
  for _, field in ipairs(form.head) do
    if field.kind == "boolean" or field.kind == "bits" then
      local known = field.bits and 2 ^ #field.bits or 2
      if byte(h, at + 1) >= known or not is_zero(h, at + 1, field.size - 1) then return false end
    end
    at = at + field.size
  end
  return true
end

-- Whether a message is what some release writes, in every byte with a meaning; `h` may be the beginning of its header.
local function is_consistent(kind, version, header_length, zero, h)
  if not (zero and is_plausible(kind, version, header_length)) then return false end
  local whole = #h >= header_length
  if whole and not payload_length(kind, h) then return false end
  local at = AT[kind]
  local function is_there(name) return at[name] and #h >= at[name] + 8 end
  if is_there("craft.term") and is_zero(h, 0, 8) then return false end
  if is_there("craft.candidate_id") and is_zero(h, at["craft.candidate_id"], 8) then return false end
  if kind == APPEND_ENTRIES then
    local before = at["craft.prev_log_term"]
    return not (#h >= before + 8 and less(h, 0, h, before)) and are_entries_consistent(h, header_length)
  end
  if is_there("craft.last_term") and less(h, 0, h, at["craft.last_term"]) then return false end
  if not whole then return true end
  if kind == INSTALL_SNAPSHOT then
    local size = u64(h, SNAPSHOT_HEAD - 8)
    local servers = configuration_in(sub(h, SNAPSHOT_HEAD + 1, SNAPSHOT_HEAD + size))
    return servers ~= nil and #servers > 0
  end
  return are_flags_known(FIXED[kind][version][header_length], h)
end

-- Where from a place on bytes stand that have the shape of a preamble: types 1 to 6, version 0 or 2.
local function find_preamble(s, from)
  local function has_shape(at)
    local kind, first, version = byte(s, at + 1, at + 3)
    return at >= from and at + PREAMBLE_LENGTH <= #s and kind >= 1 and kind <= 6 and first == 0
      and (version == 0 or version == 2) and is_zero(s, at + 3, 5) and is_zero(s, at + 12, 4)
  end
  local start = find(s, ZEROS, from + 2, true)
  while start do
    -- Zeros begin here: with version 0 right behind the type, with version 2 behind the version.
    if start >= 4 and has_shape(start - 4) then return start - 4 end
    if start >= 2 and has_shape(start - 2) then return start - 2 end
    local behind = find(s, "[^\0]", start)
    start = behind and find(s, ZEROS, behind, true)
  end
end
