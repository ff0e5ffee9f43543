-- raft_dissect: the C-Raft dissector of Wireshark and tshark. Generated; its sources are raft_dissect/wire and
-- raft_dissect/wireshark/lua. It keeps to what Lua 5.2, 5.3 and 5.4 have in common.
-- Licence: GPL-2.0-or-later.

local byte, find, format, sub = string.byte, string.find, string.format, string.sub
local floor, max, min = math.floor, math.max, math.min
