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
