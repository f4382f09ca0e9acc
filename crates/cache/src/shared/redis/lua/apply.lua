-- KEYS: state, tombstones, evictions, stream, the entries that the events name …
-- ARGV: epoch, prev, upto, watermark, floor, stream length, message,
--       for each entry its position, and its new life in ms and content after its stamp, or 0 and
--       '' where the log does not tell …, then a tag's subject and its position, in turn …
-- Reply: malformed, 'applied' | 'unproven' | 'epoch', the tier's | 'missing', applied

local s = state()
if not s then
  return { malformed, 'unproven' }
end
if s.epoch ~= ARGV[1] then
  return { malformed, 'epoch', s.epoch }
end
if s.applied < tonumber(ARGV[2]) then
  return { malformed, 'missing', s.applied_text }
end

-- Which of the entries that the log tells anew are held and count; after the marks none does.
local held = {}
for i = 5, #KEYS do
  if ARGV[3 * i - 5] ~= '' then
    local raw = on('GET', KEYS[i])
    local entry = raw and parse(KEYS[i], raw)
    held[KEYS[i]] = entry and stands(s, KEYS[i], KEYS[3], entry)
  end
end

local raise = {}
for i = 5, #KEYS do
  raise[#raise + 1] = ARGV[3 * i - 7]
  raise[#raise + 1] = subject(KEYS[i])
end
for i = 3 * #KEYS - 4, #ARGV, 2 do
  raise[#raise + 1] = ARGV[i + 1]
  raise[#raise + 1] = ARGV[i]
end
if #raise > 0 then
  redis.call('ZADD', KEYS[2], 'GT', unpack(raise))
end
if tonumber(ARGV[5]) > s.floor then
  redis.call('HSET', KEYS[1], 'floor', ARGV[5])
end

-- Puts what the log tells anew in the place of what it made old: coherence::Fence::admit, of which
-- epoch and stored value are known.
local function renew(key, lsn, ttl, rest)
  local floor = math.max(s.floor, tonumber(ARGV[5]))
  local members = { subject(key) }
  for tag in string.gmatch(string.match(rest, '^ [pa] %d+ %d+ %d+ %d+ %d+([^\n]*)\n'), '%S+') do
    members[#members + 1] = 't:' .. tag
  end
  if tonumber(lsn) >= floor and tonumber(lsn) >= newest(KEYS[2], members) then
    local stamp = string.format('%.0f', s.evictions)
    local entry = 'tg2 ' .. s.epoch .. ' ' .. lsn .. ' ' .. stamp .. rest
    redis.call('SET', key, entry, 'PX', ttl)
  else
    redis.call('UNLINK', key)
  end
end

for i = 5, #KEYS do
  local header = on('GETRANGE', KEYS[i], 0, 127)
  if header ~= '' then
    local lsn, ttl, rest = ARGV[3 * i - 7], ARGV[3 * i - 6], ARGV[3 * i - 5]
    local epoch, tau = string.match(header, '^tg2 (%S+) (%d+) ')
    tau = epoch == s.epoch and position(tau)
    if tau and tau < tonumber(lsn) and rest ~= '' and held[KEYS[i]] then
      renew(KEYS[i], lsn, ttl, rest)
    elseif not tau or tau < tonumber(lsn) then
      redis.call('UNLINK', KEYS[i])
    end
  end
end

-- Last, so that a failure on the way leaves the old position and the batch is sent again.
publish(KEYS[4], ARGV[6], 'batch', ARGV[7])
if tonumber(ARGV[3]) > s.applied then
  redis.call('HSET', KEYS[1], 'applied', ARGV[3])
end
if tonumber(ARGV[4]) > s.watermark then
  redis.call('HSET', KEYS[1], 'watermark', ARGV[4])
end
return { malformed, 'applied' }
