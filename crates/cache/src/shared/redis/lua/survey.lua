-- Returns the tags of valid entries.
-- KEYS: state, tombstones, evictions, the entries …
-- Reply: malformed, then for each entry its tags, a space before each, or '-' if it is not valid

local s = state()
local reply = { 0 }
for i = 4, #KEYS do
  local entry
  if s then
    -- Large bodies are not read.
    local raw = on('GETRANGE', KEYS[i], 0, 8191)
    if raw ~= '' then
      raw = string.find(raw, '\n', 1, true) and raw or redis.call('GET', KEYS[i])
      entry = parse(KEYS[i], raw, redis.call('STRLEN', KEYS[i]))
    end
  end
  reply[i - 2] = entry and is_valid(s, KEYS[i], KEYS[3], entry) and entry.tags or '-'
end
reply[1] = malformed
return reply
