-- Applies a chunk of the log to one bucket.
-- KEYS: state, tombstones, evictions, stream, the entries that the events name …
-- ARGV: epoch, the digest of the leader's mappings and the format of entries, prev, upto, watermark, floor, stream length, message or '',
--       for each entry its position, and its new TTL in ms and content after its stamp, or 0 and ''
--       if the log does not contain its value …, then the subject and the position of each tag and
--       wildcard, in turn …
-- Reply: malformed, 'applied' | 'unproven' | 'epoch', the tier's epoch | 'coverage', the stated
--        digest | 'missing', applied

local s = state()
if not s then
  return { malformed, 'unproven' }
end
local epoch, coverage, format = string.match(ARGV[1], '^(%S+) (%x+) (tg[34])$')
if s.epoch ~= epoch then
  return { malformed, 'epoch', s.epoch }
end
if s.coverage ~= coverage then
  return { malformed, 'coverage', s.coverage }
end
if s.applied < tonumber(ARGV[2]) then
  return { malformed, 'missing', s.applied_text }
end

-- The entries with a new value in the log that are valid and of the same definition. Read before the tombstones are raised, which
-- make all of them invalid.
local valid, absent = {}, {}
for i = 5, #KEYS do
  if ARGV[3 * i - 5] ~= '' then
    local raw = on('GET', KEYS[i])
    absent[KEYS[i]] = not raw
    local entry = raw and parse(KEYS[i], raw)
    local definition = string.match(ARGV[3 * i - 5], '^ [pa] %d+ %d+ %d+ %d+ (%x+) ')
    valid[KEYS[i]] = entry and entry.definition == definition
      and is_valid(s, KEYS[i], KEYS[3], entry)
  end
end

local raise = {}
for i = 5, #KEYS do
  raise[#raise + 1] = ARGV[3 * i - 7]
  raise[#raise + 1] = subject(KEYS[i])
end
local wildcards = {}
for i = 3 * #KEYS - 4, #ARGV, 2 do
  if string.find(ARGV[i], '^[kt]%*:') then
    wildcards[ARGV[i]] = math.max(wildcards[ARGV[i]] or 0, tonumber(ARGV[i + 1]))
  else
    raise[#raise + 1] = ARGV[i + 1]
    raise[#raise + 1] = ARGV[i]
  end
end
if #raise > 0 then
  redis.call('ZADD', KEYS[2], 'GT', unpack(raise))
end
local floor = math.max(s.floor, tonumber(ARGV[5]))

-- coherence::Fence::raise and make_room, for wildcards.
if next(wildcards) then
  for lsn, pattern in string.gmatch(s.wildcards, '(%d+) (%S+)\n') do
    wildcards[pattern] = math.max(wildcards[pattern] or 0, tonumber(lsn))
  end
  local newest_first = {}
  for pattern, lsn in pairs(wildcards) do
    newest_first[#newest_first + 1] = { lsn, pattern }
  end
  table.sort(newest_first, function(a, b)
    return a[1] > b[1] or a[1] == b[1] and a[2] < b[2]
  end)
  local over = newest_first[WILDCARDS_MAX + 1]
  if over then
    floor = math.max(floor, over[1])
  end
  local lines = {}
  for _, tombstone in ipairs(newest_first) do
    if not over or tombstone[1] > over[1] then
      lines[#lines + 1] = string.format('%.0f %s\n', tombstone[1], tombstone[2])
    end
  end
  s.wildcards = table.concat(lines)
  redis.call('HSET', KEYS[1], 'wildcards', s.wildcards)
end
if floor > s.floor then
  redis.call('HSET', KEYS[1], 'floor', string.format('%.0f', floor))
end

-- Stores the value in the log in place of an entry that it invalidates: coherence::Fence::admit, of which
-- epoch and stored value are known.
local function renew(key, lsn, ttl, rest)
  local members = { subject(key) }
  for tag in string.gmatch(string.match(rest, '^ [pa] %d+ %d+ %d+ %d+ %x+ %d+ %d+([^\n]*)\n'), '%S+') do
    members[#members + 1] = 't:' .. tag
  end
  if tonumber(lsn) >= floor and tonumber(lsn) >= newest(KEYS[2], members)
    and not matches_wildcard(s, tonumber(lsn), members) then
    local stamp = string.format('%.0f', s.evictions)
    local entry = format .. ' ' .. s.epoch .. ' ' .. lsn .. ' ' .. stamp .. rest
    redis.call('SET', key, entry, 'PX', ttl)
  else
    redis.call('UNLINK', key)
  end
end

for i = 5, #KEYS do
  local header = absent[KEYS[i]] and '' or on('GETRANGE', KEYS[i], 0, 127)
  if header ~= '' then
    local lsn, ttl, rest = ARGV[3 * i - 7], ARGV[3 * i - 6], ARGV[3 * i - 5]
    local epoch, tau = string.match(header, '^tg[3456] (%S+) (%d+) ')
    tau = epoch == s.epoch and position(tau)
    if tau and tau < tonumber(lsn) and rest ~= '' and valid[KEYS[i]] then
      renew(KEYS[i], lsn, ttl, rest)
    elseif not tau or tau < tonumber(lsn) then
      redis.call('UNLINK', KEYS[i])
    end
  end
end

-- Last, so that a failure before leaves the old position, and the batch is sent again.
publish(KEYS[4], ARGV[6], 'batch', ARGV[7])
if ARGV[7] ~= '' and redis.call('HGET', KEYS[1], 'claim') then
  redis.call('HSET', KEYS[1], 'claimed', string.format('%.0f', time_ms() + CLAIM_LIFETIME))
end
if tonumber(ARGV[3]) > s.applied then
  redis.call('HSET', KEYS[1], 'applied', ARGV[3])
end
if tonumber(ARGV[4]) > s.watermark then
  redis.call('HSET', KEYS[1], 'watermark', ARGV[4])
end
return { malformed, 'applied' }
