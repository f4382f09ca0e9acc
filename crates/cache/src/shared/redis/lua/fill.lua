-- Stores an entry by the fill rule, and releases its lease.
-- KEYS: state, tombstones, evictions, entry, lease
-- ARGV: epoch, τ, lease token or '', ttl in ms, format, the entry after its stamp, its tags as subjects …
-- Reply: malformed, 'accept', the refusal's name, or 'full'

local s = state()

-- coherence::Fence::admit, in the same order.
local function admit()
  if not s then
    return 'unproven'
  end
  if s.epoch ~= ARGV[1] then
    return 'epoch'
  end
  local tau = tonumber(ARGV[2])
  if tau < s.floor then
    return 'floor'
  end
  local members = { subject(KEYS[4]) }
  for i = 7, #ARGV do
    members[#members + 1] = ARGV[i]
  end
  if tau < newest(KEYS[2], members) or matches_wildcard(s, tau, members) then
    return 'tombstone'
  end
  -- Most fills find no entry, or an older one. Only the others need the whole entry.
  local stored = position(string.match(on('GETRANGE', KEYS[4], 0, 127), '^tg[3456] %S+ (%d+) '))
  if stored and tau < stored then
    local entry = parse(KEYS[4], redis.call('GET', KEYS[4]))
    if entry and is_valid(s, KEYS[4], KEYS[3], entry) then
      return 'older'
    end
  end
  return 'accept'
end

local verdict = admit()
if ARGV[3] ~= '' then
  local lease = on('GET', KEYS[5])
  if lease and string.match(lease, ' (%d+)$') == ARGV[3] then
    redis.call('UNLINK', KEYS[5])
  elseif verdict == 'accept' and lease and string.sub(lease, 1, #s.epoch + 1) == s.epoch .. ' ' then
    verdict = 'lease'
  end
end
if verdict == 'accept' then
  local stamp = string.format('%.0f', s.evictions)
  local entry = ARGV[5] .. ' ' .. ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. stamp .. ARGV[6]
  if not if_room('SET', KEYS[4], entry, 'PX', ARGV[4]) then
    verdict = 'full'
  end
end
return { malformed, verdict }
