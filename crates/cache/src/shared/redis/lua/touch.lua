-- KEYS: state, tombstones, evictions, entries that are used elsewhere …
-- ARGV: for each, up to how many ms after its load that prolongs its life; 0: without limit
-- Reply: malformed

local s = state()
if s then
  for at = 4, #KEYS do
    local raw = on('GET', KEYS[at])
    local entry = raw and parse(KEYS[at], raw)
    if entry and stands(s, KEYS[at], KEYS[3], entry) then
      slide(s, KEYS[at], raw, entry, tonumber(ARGV[at - 3]))
    end
  end
end
return { malformed }
