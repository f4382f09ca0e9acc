-- Claims a tier for a leader, or renews its claim, and states the mappings that it applies.
-- KEYS: state, tombstones, stream
-- ARGV: claim, the timelines before its own with the positions at which they were left (' 1:90 2:95 '), the
--       digest of the mappings that were stated before, the digest and the mappings to state, the epoch that
--       the tier was seen in and a message of it, or '' and '', stream length, the position up to which the
--       leader has applied new mappings or ''
-- Reply: malformed, 'granted' | 'changed' (other mappings are stated, the epoch is another, or more is
--        applied) | the conflict's name, the label of the
--        live claim

local CLAIM = '^(%x+)%.(%x+)%.(%x+)%.(%x+)%.(%x+) (.*)$'
local s = state()
local now = time_ms()

-- coherence::leadership::Claim::replaces.
local function conflict(live)
  if string.find(live, '^v%d+ ') then
    return 'version'
  end
  local node, system, timeline, server, slot = string.match(live, CLAIM)
  local own_node, own_system, own_timeline, own_server, own_slot = string.match(ARGV[1], CLAIM)
  -- The start of a server is in the upper half of its digest.
  local function run(digest)
    return string.sub(digest, 1, -9)
  end
  if node == own_node then
    return nil
  end
  if system ~= own_system then
    return 'database'
  end
  if timeline ~= own_timeline then
    local left = position(string.match(ARGV[2], ' ' .. timeline .. ':(%d+) '))
    return not (left and (not s or s.applied <= left)) and 'timeline' or nil
  end
  if run(server) ~= run(own_server) then
    return 'server'
  end
  return slot ~= own_slot and 'slot' or nil
end

local live = live_claim(now)
local why = live and conflict(live)
if why then
  return { malformed, why, select(6, string.match(live, CLAIM)) or live }
end
if digest(on('HGET', KEYS[1], 'coverage')) ~= ARGV[3] or (s and s.epoch or '') ~= ARGV[5]
  or ARGV[8] ~= '' and s and s.applied > tonumber(ARGV[8]) then
  return { malformed, 'changed' }
end
redis.call('HSET', KEYS[1], 'claim', ARGV[1], 'claimed', string.format('%.0f', now + CLAIM_LIFETIME),
  'coverage', ARGV[4])
publish(KEYS[3], ARGV[7], 'batch', ARGV[6])
return { malformed, 'granted' }
