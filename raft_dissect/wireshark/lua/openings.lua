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
