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

local E = {} -- the expert infos
do
  local all = {}
  for place, each in ipairs(EXPERTS) do
    E[each.key] = ProtoExpert.new(each.name, each.meaning, expert.group[each.group], expert.severity[each.severity])
    all[place] = E[each.key]
  end
  craft.experts = all
end

local LAYOUT_CHOICES = { { 0, "the newest that fits", 0 } }
for place, label in ipairs(LAYOUTS) do LAYOUT_CHOICES[place + 1] = { place, label, place } end

craft.prefs.text = Pref.statictext("raft_dissect " .. VERSION, "The release that this dissector belongs to")
craft.prefs.tcp_ports = Pref.range("TCP ports", "", "Ports of servers; what a port carries is found out all the same", 65535)
craft.prefs.tls_ports = Pref.range("TLS ports", "", "Ports on which Raft is inside TLS; Wireshark needs the keys", 65535)
craft.prefs.heuristic = Pref.bool("Recognise on any port", true, "Take a connection for C-Raft by its handshake or messages")
craft.prefs.layout = Pref.enum("Layout", 0, "To prefer where the same bytes belong to several", LAYOUT_CHOICES, false)
craft.prefs.largest = Pref.uint("Largest message (MiB)", 64, "Of larger ones the beginning is shown at once, and no more")
