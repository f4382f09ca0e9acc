-- Touches entries that were used elsewhere.
-- KEYS: state, tombstones, evictions, the entries …
-- ARGV: the touch of each entry
-- Reply: malformed

local s = state()
if s then
  for at = 4, #KEYS do
    local raw = on('GET', KEYS[at])
    local entry = raw and parse(KEYS[at], raw)
    if entry and is_valid(s, KEYS[at], KEYS[3], entry) then
      touch_entry(s, KEYS[at], raw, entry, ARGV[at - 3])
    end
  end
end
return { malformed }
