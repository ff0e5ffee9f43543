-- What Wireshark is told of the protocol: its fields, expert infos and preferences.

local craft = Proto("craft", "C-Raft")
local F = {} -- the fields by their names in filters

local function of_type(each)
  local name, title, meaning = each.name, each.title, each.meaning
  if each.type == "framenum" then
    local other = name == "craft.response_to" and frametype.REQUEST or frametype.RESPONSE
    return ProtoField.framenum(name, title, base.NONE, name == "craft.payload_of" and frametype.NONE or other, 0, meaning)
  elseif each.type == "hex" then
    return ProtoField.uint64(name, title, base.HEX, nil, nil, meaning)
  elseif each.type == "bool" then
    return ProtoField.bool(name, title, base.NONE, nil, nil, meaning)
  elseif each.type == "string" then
    return ProtoField.string(name, title, base.ASCII, meaning)
  elseif each.type == "bytes" then
    return ProtoField.bytes(name, title, base.NONE, meaning)
  elseif each.type == "none" then
    return ProtoField.none(name, title, meaning)
  elseif each.type == "relative_time" then
    return ProtoField.relative_time(name, title, meaning)
  end
  return ProtoField[each.type](name, title, base.DEC, each.values, nil, meaning)
end

do
  local all = {}
  for place, each in ipairs(FIELDS) do
    F[each.name] = of_type(each)
    all[place] = F[each.name]
  end
  craft.fields = all
end

local group, severity = expert.group, expert.severity
local E = {
  malformed = ProtoExpert.new("craft.malformed", "What no release writes like this", group.MALFORMED, severity.ERROR),
  refused_handshake = ProtoExpert.new("craft.malformed_handshake", "A handshake that no server takes", group.MALFORMED,
    severity.ERROR),
  rejected = ProtoExpert.new("craft.rejection", "The follower rejects the entries", group.RESPONSE_CODE, severity.WARN),
  not_granted = ProtoExpert.new("craft.refusal", "The vote is not granted", group.RESPONSE_CODE, severity.NOTE),
  stale = ProtoExpert.new("craft.stale", "Unused bytes that carry memory of the sender", group.SECURITY, severity.CHAT),
  reserved = ProtoExpert.new("craft.reserved", "Reserved bytes that are not zero", group.PROTOCOL, severity.WARN),
  reserved_type = ProtoExpert.new("craft.reserved_type", "A type that no release sends", group.UNDECODED, severity.WARN),
  odd_length = ProtoExpert.new("craft.odd_length", "A header of a length that no release writes", group.PROTOCOL,
    severity.WARN),
  odd_value = ProtoExpert.new("craft.odd_value", "A value that no release writes", group.PROTOCOL, severity.WARN),
  unaligned = ProtoExpert.new("craft.unaligned", "Receivers take the entries behind this one from the wrong place",
    group.PROTOCOL, severity.WARN),
  partial = ProtoExpert.new("craft.partial.note", "The message is not all here", group.REASSEMBLE, severity.NOTE),
  gap = ProtoExpert.new("craft.gap.note", "Bytes are missing from the capture", group.SEQUENCE, severity.WARN),
  passed_over = ProtoExpert.new("craft.passed_over.note", "Framing was lost", group.SEQUENCE, severity.NOTE),
  transfer = ProtoExpert.new("craft.transfer", "The leader hands its leadership over", group.SEQUENCE, severity.CHAT),
  many = ProtoExpert.new("craft.many", "More than the tree can hold", group.UNDECODED, severity.NOTE),
}
do
  local all = {}
  for _, each in pairs(E) do all[#all + 1] = each end
  craft.experts = all
end

local NEWEST = "newest"
local LAYOUT_CHOICES = { { 0, "the newest that fits", 0 } }
for place, label in ipairs(LAYOUTS) do LAYOUT_CHOICES[place + 1] = { place, label, place } end

craft.prefs.text = Pref.statictext("raft_dissect " .. VERSION, "The release that this dissector belongs to")
craft.prefs.tcp_ports = Pref.range("TCP ports", "", "Ports of servers; what a port carries is found out all the same", 65535)
craft.prefs.tls_ports = Pref.range("TLS ports", "", "Ports on which Raft is inside TLS; Wireshark needs the keys", 65535)
craft.prefs.heuristic = Pref.bool("Recognise on any port", true, "Take a connection for C-Raft by its handshake or messages")
craft.prefs.layout = Pref.enum("Layout", 0, "To prefer where the same bytes belong to several", LAYOUT_CHOICES, false)
craft.prefs.largest = Pref.uint("Largest message (MiB)", 64, "Of larger ones the beginning is shown at once, and no more")
