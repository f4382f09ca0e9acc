-- KEYS: state, tombstones, evictions, entries that are used elsewhere …
-- ARGV: for each, how that prolongs its life
-- Reply: malformed

local s = state()
if s then
  for at = 4, #KEYS do
    local raw = on('GET', KEYS[at])
    local entry = raw and parse(KEYS[at], raw)
    if entry and stands(s, KEYS[at], KEYS[3], entry) then
      slide(s, KEYS[at], raw, entry, ARGV[at - 3])
    end
  end
end
return { malformed }
