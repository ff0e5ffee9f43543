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
