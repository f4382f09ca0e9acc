-- Looks up keys, touches their entries and grants leases.
-- KEYS: state, tombstones, evictions, then entry and lease for each key
-- ARGV: lease in ms or '', then for each key the token of its lease, and its touch or ''
-- Reply: malformed [, epoch, applied, watermark, coverage, then for each key its outcome, …]

local s = state()
if not s then
  return { malformed }
end
local reply = { 0, s.epoch, s.applied_text, s.watermark_text, s.coverage }

local function add(...)
  for _, word in ipairs({ ... }) do
    reply[#reply + 1] = word
  end
end

local function read(entry_key, lease_key, token, touch)
  local raw = on('GET', entry_key)
  if raw then
    local entry = parse(entry_key, raw)
    if entry and is_valid(s, entry_key, KEYS[3], entry) then
      if touch ~= '' then
        raw = touch_entry(s, entry_key, raw, entry, touch)
      end
      return add('found', raw, entry.left)
    end
    redis.call('UNLINK', entry_key)
    -- A node of another version writes its own format.
    if not entry and (string.find(raw, '^tg[35] ') or not string.find(raw, '^tg%d+ ')) then
      malformed = malformed + 1
    end
  end

  if ARGV[1] == '' then
    return add('miss')
  end
  local lease = on('GET', lease_key)
  if lease and string.sub(lease, 1, #s.epoch + 1) == s.epoch .. ' ' then
    local left = redis.call('PTTL', lease_key)
    if left >= 0 then
      return add('wait', left)
    end
  end
  -- Without memory for a lease the caller loads without one: other nodes may load too.
  if if_room('SET', lease_key, s.epoch .. ' ' .. token, 'PX', ARGV[1]) then
    return add('lead')
  end
  add('miss')
end

for at = 4, #KEYS, 2 do
  read(KEYS[at], KEYS[at + 1], ARGV[at - 2], ARGV[at - 1])
end
reply[1] = malformed
return reply
