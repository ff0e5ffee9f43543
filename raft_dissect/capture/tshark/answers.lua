-- What tshark is asked by raft_dissect, and how it answers; its argument says what is asked.
--
-- An answer is a line, KIND FRAME SIZE WORDS..., and SIZE bytes after it. The marker is an IPv4 packet with protocol 253,
-- which is for experiments (RFC 3692); its answer is M, and says that all packets before it have had theirs.

local question = ...
local out = io.stdout

local function answer(kind, frame, data, words)
    out:write(kind, " ", frame, " ", #data, " ", words or "", "\n", data)
end

local function bytes(tvb)
    local size = tvb:captured_len()
    return size > 0 and tvb:raw(0, size) or ""
end

-- What is inside TLS; each packet holds one whole record.
-- D: decrypted application data. U: a record that should have been decrypted and was not.
local function decrypted()
    local APPLICATION_DATA = 23
    local outer = Field.new("tls.record.opaque_type")
    local inner = Field.new("tls.record.content_type")
    local plain = Proto("raft_dissect_plain", "Decrypted for raft_dissect")
    local given = 0

    local function give(tvb, pinfo)
        given = pinfo.number
        answer("D", given, bytes(tvb))
        return true
    end

    function plain.dissector(tvb, pinfo)
        give(tvb, pinfo)
        return tvb:captured_len()
    end

    plain:register_heuristic("tls", give)
    -- Where a handshake names the protocol inside, that protocol's own dissector would be asked first.
    local named = DissectorTable.get("tls.alpn")
    for _, name in ipairs({"http/1.1", "h2"}) do named:set(name, plain) end

    -- TLS 1.3 calls every encrypted record application data outside; what it is is known once it is decrypted.
    local function is_sealed()
        local kind = inner()
        if kind then return kind.value == APPLICATION_DATA end
        return outer() ~= nil
    end

    local records = Listener.new("tls")

    function records.packet(pinfo)
        if given ~= pinfo.number and is_sealed() then answer("U", pinfo.number, "") end
    end
end

-- The innermost TCP segment of a packet.
-- T: its header and payload; the words are the addresses, the identification of the IPv4 packet and the payload's length.
local function segments()
    local header = Field.new("tcp")
    local payload = Field.new("tcp.payload")
    local identification = Field.new("ip.id")
    local last = function(field)
        local all = {field()}
        return all[#all]
    end
    local packets = Listener.new("tcp")

    function packets.packet(pinfo, tvb, tcp)
        local head, data, id = last(header), last(payload), last(identification)
        if not head then return end
        local content = head.range:raw()
        if data then content = content .. data.range:raw() end
        local words = {tostring(tcp.ip_src), tostring(tcp.ip_dst), id and id.value or 0, tcp.th_seglen}
        answer("T", pinfo.number, content, table.concat(words, " "))
    end
end

local marker = Proto("raft_dissect_marker", "Marker of raft_dissect")

function marker.dissector(tvb, pinfo)
    answer("M", pinfo.number, "")
    out:flush()
    return tvb:captured_len()
end

DissectorTable.get("ip.proto"):add(253, marker)
local questions = {decrypted = decrypted, segments = segments}
questions[question]()
answer("raft_dissect", 0, "")
out:flush()
