-- KEYS: state, tombstones, evictions, then entry and lease for each key
-- ARGV: lease in ms or '', then for each key the token it would get, and how this use prolongs its
--       life, or ''
-- Reply: malformed [, epoch, applied, watermark, then for each key its outcome, …]

local s = state()
if not s then
  return { malformed }
end
local reply = { 0, s.epoch, s.applied_text, s.watermark_text }

local function say(...)
  for _, word in ipairs({ ... }) do
    reply[#reply + 1] = word
  end
end

local function read(entry_key, lease_key, token, use)
  local raw = on('GET', entry_key)
  if raw then
    local entry = parse(entry_key, raw)
    if entry and stands(s, entry_key, KEYS[3], entry) then
      if use ~= '' then
        raw = slide(s, entry_key, raw, entry, use)
      end
      return say('found', raw, entry.left)
    end
    redis.call('UNLINK', entry_key)
    if not entry then
      malformed = malformed + 1
    end
  end

  if ARGV[1] == '' then
    return say('miss')
  end
  local held = on('GET', lease_key)
  if held and string.sub(held, 1, #s.epoch + 1) == s.epoch .. ' ' then
    local left = redis.call('PTTL', lease_key)
    if left >= 0 then
      return say('wait', left)
    end
  end
  redis.call('SET', lease_key, s.epoch .. ' ' .. token, 'PX', ARGV[1])
  say('lead')
end

for at = 4, #KEYS, 2 do
  read(KEYS[at], KEYS[at + 1], ARGV[at - 2], ARGV[at - 1])
end
reply[1] = malformed
return reply
