-- KEYS: state, tombstones, evictions, entry, lease
-- ARGV: lease in ms or '', the token it would get
-- Reply: malformed [, epoch, applied, watermark, outcome, …]

local s = state()
if not s then
  return { malformed }
end

local raw = on('GET', KEYS[4])
if raw then
  local entry = parse(KEYS[4], raw)
  if entry and stands(s, KEYS[4], KEYS[3], entry) then
    return { malformed, s.epoch, s.applied_text, s.watermark_text, 'found', raw, entry.left }
  end
  redis.call('UNLINK', KEYS[4])
  if not entry then
    malformed = malformed + 1
  end
end

if ARGV[1] == '' then
  return { malformed, s.epoch, s.applied_text, s.watermark_text, 'miss' }
end
local held = on('GET', KEYS[5])
if held and string.sub(held, 1, #s.epoch + 1) == s.epoch .. ' ' then
  local left = redis.call('PTTL', KEYS[5])
  if left >= 0 then
    return { malformed, s.epoch, s.applied_text, s.watermark_text, 'wait', left }
  end
end
redis.call('SET', KEYS[5], s.epoch .. ' ' .. ARGV[2], 'PX', ARGV[1])
return { malformed, s.epoch, s.applied_text, s.watermark_text, 'lead' }
