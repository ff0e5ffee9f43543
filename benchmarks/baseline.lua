-- A straightforward C-Raft dissector, the baseline of the benchmarks: it knows nothing of lost framing.
local craft = Proto("craft", "C-Raft (benchmark baseline)")
local f_type = ProtoField.uint8("craft.type", "Type", base.DEC)
local f_term = ProtoField.uint64("craft.term", "Term", base.DEC)
craft.fields = { f_type, f_term }

-- Bytes of the message or handshake at `at`; nil when more bytes are needed to know.
local function length_of(tvb, at, left)
  if left < 24 then return nil end
  local kind = tvb(at, 1):uint()
  local header = tvb(at + 8, 8):le_uint64():tonumber()
  if kind == 1 and header < 40 then return 24 + tvb(at + 16, 8):le_uint64():tonumber() end
  if left < 16 + header then return nil end
  local size = 16 + header
  if kind == 1 then
    local count = tvb(at + 48, 8):le_uint64():tonumber()
    for entry = 0, count - 1 do size = size + tvb(at + 68 + 16 * entry, 4):le_uint() end
  elseif kind == 5 then
    local configuration = tvb(at + 48, 8):le_uint64():tonumber()
    size = size + tvb(at + 56 + configuration, 8):le_uint64():tonumber()
  end
  return size
end

function craft.dissector(tvb, pinfo, tree)
  local at, total = 0, tvb:len()
  while at < total do
    local left = total - at
    local size = length_of(tvb, at, left)
    if size == nil or size > left then
      pinfo.desegment_offset = at
      pinfo.desegment_len = size and size - left or DESEGMENT_ONE_MORE_SEGMENT
      return
    end
    local handshake = tvb(at, 1):uint() == 1 and tvb(at + 8, 8):le_uint64():tonumber() < 40
    if not handshake then
      local item = tree:add(craft, tvb(at, size))
      item:add_le(f_type, tvb(at, 1))
      item:add_le(f_term, tvb(at + 16, 8))
    end
    pinfo.cols.protocol = "CRAFT"
    at = at + size
  end
end

DissectorTable.get("tcp.port"):add(9001, craft)
