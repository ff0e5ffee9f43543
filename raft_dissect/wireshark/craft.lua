-- raft_dissect: the C-Raft dissector of Wireshark and tshark. Generated; its sources are raft_dissect/wire and
-- raft_dissect/wireshark/lua. It keeps to what Lua 5.2, 5.3 and 5.4 have in common.
-- Licence: GPL-2.0-or-later.

local byte, find, format, sub = string.byte, string.find, string.format, string.sub
local floor, max, min = math.floor, math.max, math.min

-- The wire table.

local VERSION = "0.1.0"

local APPEND_ENTRIES = 1

local APPEND_ENTRIES_RESULT = 2

local REQUEST_VOTE = 3

local REQUEST_VOTE_RESULT = 4

local INSTALL_SNAPSHOT = 5

local TIMEOUT_NOW = 6

local PREAMBLE_LENGTH = 16

local ENTRY_LENGTH = 16

local MAX_HEADER_LENGTH = 16777216

local CHANGE = 3

local COMMAND = 1

local CONFIGURATION_FORMAT = 1

local DQLITE_CONNECT = 11

local PROTOCOLS = { "\001\000\000\000\000\000\000\000", "\229\063\067\096\215\077\016\134" }

local MESSAGE_NAMES = { [1] = "AppendEntries", [2] = "AppendEntriesResult", [3] = "RequestVote", [4] = "RequestVoteResult", [5] = "InstallSnapshot", [6] = "TimeoutNow", [7] = "Signature", [8] = "SignatureResult", [9] = "InstallSnapshotResult", [10] = "Mv", [11] = "MvResult", [12] = "Cp", [13] = "CpResult" }

local ENTRY_TYPES = { [1] = "command", [2] = "barrier", [3] = "change" }

local ROLES = { [0] = "standby", [1] = "voter", [2] = "spare" }

local DQLITE_REQUESTS = { [0] = "LEADER", [1] = "CLIENT", [2] = "HEARTBEAT", [3] = "OPEN", [4] = "PREPARE", [5] = "EXEC", [6] = "QUERY", [7] = "FINALIZE", [8] = "EXEC_SQL", [9] = "QUERY_SQL", [10] = "INTERRUPT", [11] = "CONNECT", [12] = "ADD", [13] = "PROMOTE_OR_ASSIGN", [14] = "REMOVE", [15] = "DUMP", [16] = "CLUSTER", [17] = "TRANSFER", [18] = "DESCRIBE", [19] = "WEIGHT" }

local LAYOUTS = { "c-0.9.0", "c-0.9.15", "c-0.9.21", "c-0.11.3", "c-0.18.0", "c-main", "w-0.17.4", "w-0.20.0", "w-0.22.1" }

local PREAMBLE = {
  { name = "craft.type", size = 1, kind = "uint" },
  { name = "craft.preamble.reserved1", size = 1, kind = "unused" },
  { name = "craft.version", size = 1, kind = "uint" },
  { name = "craft.preamble.reserved2", size = 5, kind = "unused" },
  { name = "craft.header_length", size = 8, kind = "length" },
}

local ENTRY = {
  { name = "craft.entry.term", size = 8, kind = "uint" },
  { name = "craft.entry.type", size = 1, kind = "uint" },
  { name = "craft.entry.unused", size = 3, kind = "unused" },
  { name = "craft.entry.size", size = 4, kind = "length" },
}

local CONFIGURATION = {
  { name = "craft.configuration.format", size = 1, kind = "uint" },
  { name = "craft.configuration.n_servers", size = 8, kind = "count" },
}

local SERVER = {
  { name = "craft.server.id", size = 8, kind = "uint" },
  { name = "craft.server.address", size = 0, kind = "address" },
  { name = "craft.server.role", size = 1, kind = "uint" },
}

local RAFT_HANDSHAKE = {
  { name = "craft.handshake.protocol", size = 8, kind = "uint" },
  { name = "craft.handshake.id", size = 8, kind = "uint" },
  { name = "craft.handshake.address_length", size = 8, kind = "length" },
  { name = "craft.handshake.address", size = 0, kind = "address" },
}

local DQLITE_HANDSHAKE = {
  { name = "craft.handshake.protocol", size = 8, kind = "uint" },
  { name = "craft.handshake.words", size = 4, kind = "length" },
  { name = "craft.handshake.type", size = 1, kind = "uint" },
  { name = "craft.handshake.schema", size = 1, kind = "uint" },
  { name = "craft.handshake.extra", size = 2, kind = "uint" },
  { name = "craft.handshake.id", size = 8, kind = "uint" },
  { name = "craft.handshake.address", size = 0, kind = "address" },
}

local MESSAGES = {
  [1] = {
    name = "AppendEntries",
    forms = {
      {
        version = 0,
        layouts = "c-0.9.0 c-0.9.15 c-0.9.21 c-0.11.3 c-0.18.0 c-main w-0.17.4 w-0.20.0 w-0.22.1",
        stale = "c-0.9.0 c-0.9.15 c-0.9.21 c-0.11.3 c-0.18.0 c-main",
        variable = "entries",
        head_size = 40,
        head = {
          { name = "craft.term", size = 8, kind = "uint" },
          { name = "craft.prev_log_index", size = 8, kind = "uint" },
          { name = "craft.prev_log_term", size = 8, kind = "uint" },
          { name = "craft.leader_commit", size = 8, kind = "uint" },
          { name = "craft.n_entries", size = 8, kind = "count" },
        },
        tail_size = 8,
        tail = {
          { name = "craft.trailer", size = 8, kind = "unused" },
        },
      },
    },
  },
  [2] = {
    name = "AppendEntriesResult",
    forms = {
      {
        version = 0,
        layouts = "c-0.9.0 c-0.9.15 c-0.9.21 c-0.11.3",
        stale = "c-0.9.0 c-0.9.15 c-0.9.21 c-0.11.3",
        dialect = "canonical",
        head_size = 24,
        head = {
          { name = "craft.term", size = 8, kind = "uint" },
          { name = "craft.rejected", size = 8, kind = "uint" },
          { name = "craft.last_log_index", size = 8, kind = "uint" },
        },
        tail_size = 0,
        tail = {
        },
      },
      {
        version = 0,
        layouts = "c-0.18.0 c-main w-0.17.4",
        stale = "c-0.18.0 c-main",
        dialect = "canonical",
        head_size = 32,
        head = {
          { name = "craft.term", size = 8, kind = "uint" },
          { name = "craft.rejected", size = 8, kind = "uint" },
          { name = "craft.last_log_index", size = 8, kind = "uint" },
          { name = "craft.features", size = 8, kind = "uint" },
        },
        tail_size = 0,
        tail = {
        },
      },
      {
        version = 2,
        layouts = "w-0.20.0 w-0.22.1",
        stale = "",
        dialect = "cowsql",
        head_size = 32,
        head = {
          { name = "craft.term", size = 8, kind = "uint" },
          { name = "craft.rejected", size = 8, kind = "uint" },
          { name = "craft.last_log_index", size = 8, kind = "uint" },
          { name = "craft.features", size = 2, kind = "uint" },
          { name = "craft.capacity", size = 2, kind = "uint" },
          { name = "craft.reserved", size = 4, kind = "unused" },
        },
        tail_size = 0,
        tail = {
        },
      },
    },
  },
  [3] = {
    name = "RequestVote",
    forms = {
      {
        version = 0,
        layouts = "c-0.9.0",
        stale = "c-0.9.0",
        dialect = "canonical",
        head_size = 32,
        head = {
          { name = "craft.term", size = 8, kind = "uint" },
          { name = "craft.candidate_id", size = 8, kind = "uint" },
          { name = "craft.last_log_index", size = 8, kind = "uint" },
          { name = "craft.last_log_term", size = 8, kind = "uint" },
        },
        tail_size = 0,
        tail = {
        },
      },
      {
        version = 0,
        layouts = "c-0.9.15",
        stale = "c-0.9.15",
        dialect = "canonical",
        head_size = 40,
        head = {
          { name = "craft.term", size = 8, kind = "uint" },
          { name = "craft.candidate_id", size = 8, kind = "uint" },
          { name = "craft.last_log_index", size = 8, kind = "uint" },
          { name = "craft.last_log_term", size = 8, kind = "uint" },
          { name = "craft.disrupt_leader", size = 8, kind = "boolean" },
        },
        tail_size = 0,
        tail = {
        },
      },
      {
        version = 0,
        layouts = "c-0.9.21 c-0.11.3 c-0.18.0 c-main w-0.17.4",
        stale = "c-0.9.21 c-0.11.3 c-0.18.0 c-main",
        dialect = "canonical",
        head_size = 40,
        head = {
          { name = "craft.term", size = 8, kind = "uint" },
          { name = "craft.candidate_id", size = 8, kind = "uint" },
          { name = "craft.last_log_index", size = 8, kind = "uint" },
          { name = "craft.last_log_term", size = 8, kind = "uint" },
          { name = "craft.flags", size = 8, kind = "bits", bits = { "disrupt_leader", "pre_vote" } },
        },
        tail_size = 0,
        tail = {
        },
      },
      {
        version = 2,
        layouts = "w-0.20.0 w-0.22.1",
        stale = "",
        dialect = "cowsql",
        head_size = 40,
        head = {
          { name = "craft.term", size = 8, kind = "uint" },
          { name = "craft.candidate_id", size = 8, kind = "uint" },
          { name = "craft.last_log_index", size = 8, kind = "uint" },
          { name = "craft.last_log_term", size = 8, kind = "uint" },
          { name = "craft.flags", size = 8, kind = "bits", bits = { "disrupt_leader", "pre_vote" } },
        },
        tail_size = 0,
        tail = {
        },
      },
    },
  },
  [4] = {
    name = "RequestVoteResult",
    forms = {
      {
        version = 0,
        layouts = "c-0.9.0 c-0.9.15 c-0.9.21",
        stale = "c-0.9.0 c-0.9.15 c-0.9.21",
        dialect = "canonical",
        head_size = 16,
        head = {
          { name = "craft.term", size = 8, kind = "uint" },
          { name = "craft.vote_granted", size = 8, kind = "boolean" },
        },
        tail_size = 0,
        tail = {
        },
      },
      {
        version = 0,
        layouts = "c-0.11.3 c-0.18.0 c-main w-0.17.4",
        stale = "c-0.11.3 c-0.18.0 c-main",
        dialect = "canonical",
        head_size = 24,
        head = {
          { name = "craft.term", size = 8, kind = "uint" },
          { name = "craft.vote_granted", size = 8, kind = "boolean" },
          { name = "craft.flags", size = 8, kind = "bits", bits = { "pre_vote" } },
        },
        tail_size = 0,
        tail = {
        },
      },
      {
        version = 2,
        layouts = "w-0.20.0 w-0.22.1",
        stale = "",
        dialect = "cowsql",
        head_size = 24,
        head = {
          { name = "craft.term", size = 8, kind = "uint" },
          { name = "craft.vote_granted", size = 8, kind = "boolean" },
          { name = "craft.flags", size = 1, kind = "bits", bits = { "pre_vote" } },
          { name = "craft.reserved1", size = 1, kind = "unused" },
          { name = "craft.features", size = 2, kind = "uint" },
          { name = "craft.capacity", size = 2, kind = "uint" },
          { name = "craft.reserved2", size = 2, kind = "unused" },
        },
        tail_size = 0,
        tail = {
        },
      },
    },
  },
  [5] = {
    name = "InstallSnapshot",
    forms = {
      {
        version = 0,
        layouts = "c-main",
        stale = "c-main",
        dialect = "canonical",
        variable = "configuration",
        head_size = 40,
        head = {
          { name = "craft.term", size = 8, kind = "uint" },
          { name = "craft.last_index", size = 8, kind = "uint" },
          { name = "craft.last_term", size = 8, kind = "uint" },
          { name = "craft.conf_index", size = 8, kind = "uint" },
          { name = "craft.conf_length", size = 8, kind = "length" },
        },
        tail_size = 8,
        tail = {
          { name = "craft.data_length", size = 8, kind = "length" },
        },
      },
      {
        version = 0,
        layouts = "c-0.9.0 c-0.9.15 c-0.9.21 c-0.11.3 c-0.18.0 w-0.17.4 w-0.20.0 w-0.22.1",
        stale = "c-0.9.0 c-0.9.15 c-0.9.21 c-0.11.3 c-0.18.0",
        variable = "configuration",
        head_size = 40,
        head = {
          { name = "craft.term", size = 8, kind = "uint" },
          { name = "craft.last_index", size = 8, kind = "uint" },
          { name = "craft.last_term", size = 8, kind = "uint" },
          { name = "craft.conf_index", size = 8, kind = "uint" },
          { name = "craft.conf_length", size = 8, kind = "length" },
        },
        tail_size = 16,
        tail = {
          { name = "craft.data_length", size = 8, kind = "length" },
          { name = "craft.trailer", size = 8, kind = "unused" },
        },
      },
    },
  },
  [6] = {
    name = "TimeoutNow",
    forms = {
      {
        version = 0,
        layouts = "c-0.9.15 c-0.9.21 c-0.11.3 c-0.18.0 c-main w-0.17.4 w-0.20.0 w-0.22.1",
        stale = "c-0.9.15 c-0.9.21 c-0.11.3 c-0.18.0 c-main",
        head_size = 24,
        head = {
          { name = "craft.term", size = 8, kind = "uint" },
          { name = "craft.last_log_index", size = 8, kind = "uint" },
          { name = "craft.last_log_term", size = 8, kind = "uint" },
        },
        tail_size = 0,
        tail = {
        },
      },
    },
  },
  [7] = {
    name = "Signature",
    forms = {
    },
  },
  [8] = {
    name = "SignatureResult",
    forms = {
    },
  },
  [9] = {
    name = "InstallSnapshotResult",
    forms = {
    },
  },
  [10] = {
    name = "Mv",
    forms = {
    },
  },
  [11] = {
    name = "MvResult",
    forms = {
    },
  },
  [12] = {
    name = "Cp",
    forms = {
    },
  },
  [13] = {
    name = "CpResult",
    forms = {
    },
  },
}

local FIELDS = {
  { name = "craft.type", type = "uint8", title = "Type", values = MESSAGE_NAMES,
    meaning = "message type" },
  { name = "craft.preamble.reserved1", type = "bytes", title = "Reserved1",
    meaning = "always 0" },
  { name = "craft.version", type = "uint8", title = "Version",
    meaning = "version of the header; 0 in the canonical dialect, which writes type as a 64-bit word" },
  { name = "craft.preamble.reserved2", type = "bytes", title = "Reserved2",
    meaning = "always 0" },
  { name = "craft.header_length", type = "uint64", title = "Header length",
    meaning = "size in bytes of the header that follows" },
  { name = "craft.term", type = "uint64", title = "Term",
    meaning = "the leader's term; or the sender's current term; or the candidate's term; in a pre-vote its current term + 1, which changes no term; or the voter's current term; in a pre-vote since v0.14.0 the term of the request" },
  { name = "craft.prev_log_index", type = "uint64", title = "Prev log index",
    meaning = "index of the entry just before the ones that are sent" },
  { name = "craft.prev_log_term", type = "uint64", title = "Prev log term",
    meaning = "term of that entry" },
  { name = "craft.leader_commit", type = "uint64", title = "Leader commit",
    meaning = "the leader's commit index" },
  { name = "craft.n_entries", type = "uint64", title = "Number of entries",
    meaning = "number of entries; 0 in a heartbeat" },
  { name = "craft.trailer", type = "bytes", title = "Trailer",
    meaning = "never written by canonical releases, so stale memory; receivers ignore it" },
  { name = "craft.rejected", type = "uint64", title = "Rejected",
    meaning = "0 on success, otherwise the index that is refused" },
  { name = "craft.last_log_index", type = "uint64", title = "Last log index",
    meaning = "on success the last index that the follower stored; on rejection a hint; or index of the candidate's last log entry (the last persisted one since v0.18.0); or index of the leader's last log entry" },
  { name = "craft.features", type = "uint64", title = "Features",
    meaning = "bit 0: capacity is meaningful; canonical releases always send 0" },
  { name = "craft.capacity", type = "uint16", title = "Capacity",
    meaning = "free preallocated log space on disk in KiB, modulo 65536" },
  { name = "craft.reserved", type = "bytes", title = "Reserved",
    meaning = "always 0" },
  { name = "craft.candidate_id", type = "uint64", title = "Candidate ID",
    meaning = "id of the server that asks for the vote" },
  { name = "craft.last_log_term", type = "uint64", title = "Last log term",
    meaning = "term of that entry" },
  { name = "craft.disrupt_leader", type = "bool", title = "Disrupt leader",
    meaning = "1 in a leadership transfer; or the vote is asked for in a leadership transfer, voters answer although they know a leader" },
  { name = "craft.flags", type = "hex", title = "Flags",
    meaning = "disrupt_leader: the vote is asked for in a leadership transfer, voters answer although they know a leader; pre_vote: only a question whether a vote would be granted; or pre_vote: the answer to a pre-vote" },
  { name = "craft.pre_vote", type = "bool", title = "Pre vote",
    meaning = "only a question whether a vote would be granted; or the answer to a pre-vote" },
  { name = "craft.vote_granted", type = "bool", title = "Vote granted",
    meaning = "1 if the vote is granted" },
  { name = "craft.reserved1", type = "bytes", title = "Reserved1",
    meaning = "always 0" },
  { name = "craft.reserved2", type = "bytes", title = "Reserved2",
    meaning = "always 0" },
  { name = "craft.last_index", type = "uint64", title = "Last index",
    meaning = "index of the last log entry that the snapshot covers" },
  { name = "craft.last_term", type = "uint64", title = "Last term",
    meaning = "term of that entry" },
  { name = "craft.conf_index", type = "uint64", title = "Conf index",
    meaning = "index of the log entry that holds the configuration" },
  { name = "craft.conf_length", type = "uint64", title = "Conf length",
    meaning = "size of the configuration in bytes, with its padding" },
  { name = "craft.data_length", type = "uint64", title = "Data length",
    meaning = "size of the whole snapshot in bytes" },
  { name = "craft.entry.term", type = "uint64", title = "Term",
    meaning = "term in which the leader created the entry" },
  { name = "craft.entry.type", type = "uint8", title = "Type", values = ENTRY_TYPES,
    meaning = "1 command, 2 barrier, 3 change (a new configuration)" },
  { name = "craft.entry.unused", type = "bytes", title = "Unused",
    meaning = "stale memory before cowsql/raft v0.22.1" },
  { name = "craft.entry.size", type = "uint32", title = "Size",
    meaning = "size in bytes of the entry's data in the payload" },
  { name = "craft.configuration.format", type = "uint8", title = "Format",
    meaning = "always 1" },
  { name = "craft.configuration.n_servers", type = "uint64", title = "Number of servers",
    meaning = "number of servers that follow; not aligned" },
  { name = "craft.server.id", type = "uint64", title = "ID",
    meaning = "the server's id, never 0; not aligned" },
  { name = "craft.server.address", type = "string", title = "Address",
    meaning = "text that ends with a NUL byte" },
  { name = "craft.server.role", type = "uint8", title = "Role", values = ROLES,
    meaning = "0 standby (replicates, no vote), 1 voter, 2 spare (neither)" },
  { name = "craft.handshake.protocol", type = "uint64", title = "Protocol",
    meaning = "always 1; or 1, or 0x86104dd760433fe5 from dqlite v1.0.0..v1.5.0" },
  { name = "craft.handshake.id", type = "uint64", title = "ID",
    meaning = "the connecting server's id" },
  { name = "craft.handshake.address_length", type = "uint64", title = "Address length",
    meaning = "size in bytes of the address with its NUL and padding, a multiple of 8" },
  { name = "craft.handshake.address", type = "string", title = "Address",
    meaning = "the connecting server's own address, NUL, padding (stale before cowsql/raft v0.22.1); or the connecting server's own address, NUL, padded with zeros to a multiple of 8" },
  { name = "craft.handshake.words", type = "uint32", title = "Words",
    meaning = "size of what follows type, schema and extra, in words of 8 bytes" },
  { name = "craft.handshake.type", type = "uint8", title = "Type", values = DQLITE_REQUESTS,
    meaning = "11, CONNECT" },
  { name = "craft.handshake.schema", type = "uint8", title = "Schema",
    meaning = "0; stale before dqlite v1.12.0" },
  { name = "craft.handshake.extra", type = "uint16", title = "Extra",
    meaning = "0; stale before dqlite v1.12.0" },
  { name = "craft.layouts", type = "string", title = "Layouts",
    meaning = "labels of the layouts that can have written the message" },
  { name = "craft.dialect", type = "string", title = "Dialect",
    meaning = "canonical or cowsql, where the two write different bytes" },
  { name = "craft.payload_length", type = "uint64", title = "Payload length",
    meaning = "bytes that follow the header" },
  { name = "craft.partial", type = "bool", title = "Partial",
    meaning = "whether the message goes on where it cannot be seen" },
  { name = "craft.sender_id", type = "uint64", title = "Sender ID",
    meaning = "id of the server that sent the message, from its handshake" },
  { name = "craft.receiver_id", type = "uint64", title = "Receiver ID",
    meaning = "id of the server that listens at the message's destination, from its own handshake" },
  { name = "craft.response_in", type = "framenum", title = "Response in",
    meaning = "frame of the result of this request" },
  { name = "craft.response_to", type = "framenum", title = "Response to",
    meaning = "frame of the request of this result" },
  { name = "craft.response_time", type = "relative_time", title = "Response time",
    meaning = "from the request to this result" },
  { name = "craft.extra", type = "bytes", title = "Extra",
    meaning = "what the header holds behind the fields of its layout" },
  { name = "craft.data", type = "bytes", title = "Snapshot",
    meaning = "the snapshot" },
  { name = "craft.entry", type = "none", title = "Entry",
    meaning = "one entry with everything of it" },
  { name = "craft.entry.index", type = "uint64", title = "Index",
    meaning = "index of the entry: prev_log_index and its place" },
  { name = "craft.entry.data", type = "bytes", title = "Data",
    meaning = "the entry's data" },
  { name = "craft.configuration", type = "none", title = "Configuration",
    meaning = "the servers of the cluster" },
  { name = "craft.configuration.padding", type = "bytes", title = "Padding",
    meaning = "bytes behind the last server" },
  { name = "craft.server", type = "none", title = "Server",
    meaning = "one server" },
  { name = "craft.handshake", type = "string", title = "Handshake",
    meaning = "raft or dqlite" },
  { name = "craft.handshake.padding", type = "bytes", title = "Padding",
    meaning = "bytes behind the address" },
  { name = "craft.client", type = "uint8", title = "Client", values = DQLITE_REQUESTS,
    meaning = "first request of a client of dqlite on the same port" },
  { name = "craft.http", type = "string", title = "Http",
    meaning = "first line of the HTTP request or answer before the handshake" },
  { name = "craft.passed_over", type = "uint64", title = "Passed over",
    meaning = "bytes passed over in search of a message" },
  { name = "craft.gap", type = "uint64", title = "Gap",
    meaning = "bytes that are missing before this segment" },
  { name = "craft.payload_of", type = "framenum", title = "Payload of",
    meaning = "frame that has the header of the message that goes on here" },
}

local EXPERTS = {
  { name = "craft.malformed", key = "malformed", group = "MALFORMED",
    severity = "ERROR", meaning = "What no release writes like this" },
  { name = "craft.malformed_handshake", key = "refused_handshake", group = "MALFORMED",
    severity = "ERROR", meaning = "A handshake that no server takes" },
  { name = "craft.rejection", key = "rejected", group = "RESPONSE_CODE",
    severity = "WARN", meaning = "The follower rejects entries or a snapshot" },
  { name = "craft.refusal", key = "not_granted", group = "RESPONSE_CODE",
    severity = "NOTE", meaning = "The vote is not granted" },
  { name = "craft.stale", key = "stale", group = "SECURITY",
    severity = "CHAT", meaning = "Unused bytes that carry memory of the sender" },
  { name = "craft.reserved", key = "reserved", group = "PROTOCOL",
    severity = "WARN", meaning = "Reserved bytes of the preamble that are not zero" },
  { name = "craft.reserved_type", key = "reserved_type", group = "UNDECODED",
    severity = "WARN", meaning = "A type of message that no release sends" },
  { name = "craft.odd_length", key = "odd_length", group = "PROTOCOL",
    severity = "WARN", meaning = "A header of a length that no release writes" },
  { name = "craft.odd_value", key = "odd_value", group = "PROTOCOL",
    severity = "WARN", meaning = "A value that no release writes" },
  { name = "craft.unaligned", key = "unaligned", group = "PROTOCOL",
    severity = "WARN", meaning = "Receivers take the entries behind this one from the wrong place" },
  { name = "craft.partial.note", key = "partial", group = "REASSEMBLE",
    severity = "NOTE", meaning = "The message is not all here" },
  { name = "craft.gap.note", key = "gap", group = "SEQUENCE",
    severity = "WARN", meaning = "Bytes are missing before this segment" },
  { name = "craft.passed_over.note", key = "passed_over", group = "SEQUENCE",
    severity = "NOTE", meaning = "Bytes were passed over before this message, since framing was lost" },
  { name = "craft.transfer", key = "transfer", group = "SEQUENCE",
    severity = "CHAT", meaning = "The leader hands its leadership over" },
  { name = "craft.many", key = "many", group = "UNDECODED",
    severity = "NOTE", meaning = "More entries or servers than the tree can hold" },
}

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

-- What the first bytes of a stream say about it: the two handshakes, dqlite's client protocol, HTTP, TLS.

local LARGEST_ADDRESS = 4096 -- bytes; the longest that resolves has 1057
local LARGEST_HTTP_HEAD = 65536 -- bytes in which its end is looked for
local HTTP_METHODS = { "GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "CONNECT ", "DELETE ", "PATCH " }
local UPGRADED = "\nUpgrade: dqlite\r"

local RAFT_HEAD, DQLITE_HEAD = 24, 24 -- bytes before the address

local function begins(s, prefix)
  return sub(s, 1, #prefix) == prefix
end

local function is_protocol(s)
  return begins(s, PROTOCOLS[1]) or begins(s, PROTOCOLS[2])
end

local function recognise_short(s)
  local starts = { PROTOCOLS[1], PROTOCOLS[2], "HTTP/1.1", "\22\3\0", "\22\3\1", "\22\3\2", "\22\3\3", "\22\3\4" }
  for _, method in ipairs(HTTP_METHODS) do starts[#starts + 1] = method end
  for _, start in ipairs(starts) do
    if begins(start, s) or begins(s, start) then return "more" end
  end
  return "unknown"
end

local function http_head(kind, s)
  local _, stop = find(sub(s, 1, LARGEST_HTTP_HEAD), "\r\n\r\n", 1, true)
  if stop then return kind, nil, stop end
  return #s < LARGEST_HTTP_HEAD and "more" or "unknown"
end

-- A handshake as far as its length is known; its address must be a text that fills the announced length.
local function with_address(s, kind, length, start, missing)
  local room = length - start
  if room < 8 or room > LARGEST_ADDRESS or room % 8 ~= 0 then return "unknown" end
  local announced = sub(s, start + 1, length)
  local nul = find(announced, "\0", 1, true)
  local address = nul and sub(announced, 1, nul - 1) or announced
  if find(address, "[^\32-\126]") or find(address, "\\", 1, true) or nul == 1 then return "unknown" end
  if #s < length then
    if #s + missing < length then return "more" end
  elseif not nul or room - #address > 8 then
    return "unknown"
  end
  local id = kind == "raft" and 8 or 16
  address = #s >= length and address or nil
  return "handshake", { kind = kind, id = sub(s, id + 1, id + 8), address = address, length = length }, length
end

local function recognise_protocol(s, missing)
  if #s < 16 then return "more" end
  local words, request, schema = u32(s, 8), byte(s, 13, 14)
  local kind, handshake, length = "unknown", nil, nil
  if request == DQLITE_CONNECT then
    if #s < DQLITE_HEAD then return "more" end
    kind, handshake, length = with_address(s, "dqlite", words * 8 + 16, DQLITE_HEAD, missing)
  end
  if kind == "unknown" and begins(s, PROTOCOLS[1]) then
    if #s < RAFT_HEAD then return "more" end
    kind, handshake, length = with_address(s, "raft", RAFT_HEAD + u64(s, 16), RAFT_HEAD, missing)
  end
  if kind ~= "unknown" then return kind, handshake, length end
  local is_client = DQLITE_REQUESTS[request] and request ~= DQLITE_CONNECT
  if is_client and schema <= 1 and is_zero(s, 14, 2) and 0 < words and words <= 134217728 then
    return "client", nil, 16
  end
  return "unknown"
end

-- What a stream is by its first bytes: "handshake", "client", "http", "upgrade", "tls", "unknown", or "more" when more
-- bytes are needed; with the handshake, and the bytes before what follows. `missing` bytes are cut off behind them.
local function recognise(s, missing)
  if #s < 8 then return recognise_short(s) end
  if is_protocol(s) then return recognise_protocol(s, missing) end
  if begins(s, "\22\3") and byte(s, 3) <= 4 then return "tls" end
  if begins(s, "HTTP/1.") then return http_head("upgrade", s) end
  for _, method in ipairs(HTTP_METHODS) do
    if begins(s, method) then return http_head("http", s) end
  end
  return "unknown"
end

local function wrong_address(s)
  local nul = find(s, "\0", 1, true)
  if not nul then return "an address of " .. #s .. " bytes without a NUL at its end" end
  if #s % 8 ~= 0 then return "an address of " .. #s .. " bytes, no multiple of 8" end
  if nul == 1 then return "an address without a character" end
  return "an address of " .. nul - 1 .. " characters in " .. #s .. " bytes, or one that is no text"
end

-- What is wrong with a handshake that is not recognised, and its kind and length; nil if it is none at all, "more" when
-- more bytes are needed. Many numbers have its shape, so it is one only if a message stands behind it.
local function broken_handshake(s)
  if #s < 8 then return "more" end
  if not is_protocol(s) and not is_zero(s, 1, 7) then return nil end
  if #s < RAFT_HEAD then return "more" end
  local words, length = u32(s, 8), u64(s, 16)
  local kind, size
  if byte(s, 13) == DQLITE_CONNECT and 1 < words and words <= LARGEST_ADDRESS / 8 then
    kind, size = "dqlite", words * 8 + 16
  elseif 0 < length and length <= LARGEST_ADDRESS then
    kind, size = "raft", RAFT_HEAD + length
  else
    return nil
  end
  if #s < size then return "more" end
  if not is_protocol(s) then return "protocol " .. decimal(s, 0) .. ", not 1", kind, size end
  return wrong_address(sub(s, RAFT_HEAD + 1, size)), kind, size
end

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

-- What a message says in a few words, for the packet list and its line in the tree.

local WORDS = {}

local function position(word, h, index, term)
  if #h < term + 8 then return "" end
  return " " .. word .. " " .. decimal(h, index) .. "/" .. decimal(h, term)
end

local function flags_of(form, h)
  local at, words = 0, ""
  for _, field in ipairs(form.head) do
    if #h < at + field.size then break end
    if field.name == "craft.disrupt_leader" and not is_zero(h, at, field.size) then words = words .. " transfer" end
    for bit, name in ipairs(field.bits or {}) do
      if floor(byte(h, at + 1) / 2 ^ (bit - 1)) % 2 == 1 then
        words = words .. (name == "pre_vote" and " pre-vote" or " transfer")
      end
    end
    at = at + field.size
  end
  return words
end

-- Numbers of entries, and their types if they are not all commands.
local function entries_of(h)
  local n = u64(h, APPEND_HEAD - 8)
  if n == 0 then return " heartbeat" end
  local seen, kinds = {}, {}
  for entry = 0, min(n, floor((#h - APPEND_HEAD) / ENTRY_LENGTH)) - 1 do
    local kind = byte(h, APPEND_HEAD + entry * ENTRY_LENGTH + ENTRY_TYPE + 1)
    if not seen[kind] then
      seen[kind] = true
      kinds[#kinds + 1] = ENTRY_TYPES[kind] or tostring(kind)
    end
  end
  local text = table.concat(kinds, "/")
  return " +" .. decimal(h, APPEND_HEAD - 8) .. (text == "command" and "" or " " .. text)
end

WORDS[REQUEST_VOTE] = function(h, form)
  local at = AT[REQUEST_VOTE]
  return position("last", h, at["craft.last_log_index"], at["craft.last_log_term"]) .. flags_of(form, h)
end

WORDS[REQUEST_VOTE_RESULT] = function(h, form)
  local at = AT[REQUEST_VOTE_RESULT]["craft.vote_granted"]
  if #h < at + 8 then return "" end
  return (is_zero(h, at, 8) and " refused" or " granted") .. flags_of(form, h)
end

WORDS[APPEND_ENTRIES] = function(h)
  local at = AT[APPEND_ENTRIES]
  local words = position("prev", h, at["craft.prev_log_index"], at["craft.prev_log_term"])
  local commit = at["craft.leader_commit"]
  if #h >= commit + 8 then words = words .. " commit " .. decimal(h, commit) end
  return #h >= APPEND_HEAD and words .. entries_of(h) or words
end

WORDS[APPEND_ENTRIES_RESULT] = function(h)
  local at = AT[APPEND_ENTRIES_RESULT]
  local rejected, last = at["craft.rejected"], at["craft.last_log_index"]
  if #h < last + 8 then return "" end
  local verdict = is_zero(h, rejected, 8) and " ok" or " rejected " .. decimal(h, rejected)
  return verdict .. " last " .. decimal(h, last)
end

WORDS[INSTALL_SNAPSHOT] = function(h)
  local at = AT[INSTALL_SNAPSHOT]
  return position("up to", h, at["craft.last_index"], at["craft.last_term"])
end

WORDS[TIMEOUT_NOW] = function(h)
  local at = AT[TIMEOUT_NOW]
  return position("last", h, at["craft.last_log_index"], at["craft.last_log_term"])
end

local function words_of(message, h, form)
  local words = MESSAGES[message.kind].name
  if #h >= 8 and form then
    words = words .. " term " .. decimal(h, 0) .. (WORDS[message.kind] and WORDS[message.kind](h, form) or "")
  end
  if message.kind == INSTALL_SNAPSHOT and message.payload then
    words = words .. " " .. decimal(h, SNAPSHOT_HEAD + u64(h, SNAPSHOT_HEAD - 8)) .. " bytes"
  end
  return message.partial and words .. " [partial]" or words
end

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

-- Wireshark's menu Statistics: messages by type, and between whom.

local field_type = Field.new("craft.type")

local function counted(counts)
  local names, lines = {}, {}
  for name in pairs(counts) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do lines[#lines + 1] = format("%9d  %s", counts[name], name) end
  return table.concat(lines, "\n")
end

local function messages_by_type()
  local window = TextWindow.new("C-Raft: messages by type")
  local listener = Listener.new("frame", "craft.type")
  local by_type, by_sender = {}, {}
  function listener.packet(pinfo)
    for _, info in ipairs({ field_type() }) do
      local name = MESSAGES[info.value] and MESSAGES[info.value].name or "type " .. info.value
      local ends = tostring(pinfo.src) .. " > " .. tostring(pinfo.dst) .. "  " .. name
      by_type[name] = (by_type[name] or 0) + 1
      by_sender[ends] = (by_sender[ends] or 0) + 1
    end
  end
  function listener.draw()
    window:set("Messages by type\n\n" .. counted(by_type) .. "\n\nMessages by sender and receiver\n\n" .. counted(by_sender) .. "\n")
  end
  function listener.reset()
    by_type, by_sender = {}, {}
  end
  window:set_atclose(function() listener:remove() end)
  retap_packets()
end

if gui_enabled() then register_menu("C-Raft messages by type", messages_by_type, MENU_STAT_UNSORTED) end
