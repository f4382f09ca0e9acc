-- Functions of all scripts. KEYS[1] is always the state (hash), KEYS[2] the tombstones (sorted set).
--
-- Positions are decimal text. They are compared as numbers, which Lua and sorted sets store exactly up to
-- 2^53, and written as the text they were read as: Lua formats large numbers with an exponent.

-- The number of malformed values that were found and removed; first in every reply.
local malformed = 0

-- The number of wildcards that are kept: coherence::Fence::PATTERNS_MAX.
local WILDCARDS_MAX = 32

-- The lifetime of a claim in ms: coherence::leadership::CLAIM_LIFETIME.
local CLAIM_LIFETIME = 5000

-- Runs a command on a key of the tier. A value of another type under the key is removed.
local function on(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) ~= 'table' or not reply.err then
    return reply
  end
  if string.find(reply.err, 'WRONGTYPE', 1, true) then
    redis.call('UNLINK', key)
    malformed = malformed + 1
  end
  return redis.call(command, key, ...)
end

local function position(text)
  return text and #text <= 16 and string.find(text, '^%d+$') and tonumber(text)
end

-- Returns the digest of the mappings that a leader has stated, as it is written elsewhere; '0' if there is none.
local function digest(field)
  local text = string.match(field or '', '^0*(%x+) ')
  return text and #text <= 16 and string.lower(text) or '0'
end

-- Returns the bucket's state, or nil if it has none. A state with a missing part proves nothing and is
-- removed. The tombstones have a guard that names the epoch, so that their loss is such a case.
local function state()
  local f = on('HMGET', KEYS[1], 'epoch', 'applied', 'watermark', 'floor', 'evictions', 'evicted',
    'wildcards', 'coverage')
  if not f[1] then
    return nil
  end
  local s = {
    epoch = f[1], applied_text = f[2], watermark_text = f[3],
    applied = position(f[2]), watermark = position(f[3]), floor = position(f[4]),
    evictions = position(f[5]), evicted = position(f[6]),
    -- Lines of position and subject, the newest first.
    wildcards = f[7] or '',
    -- The digest of the mappings that the leader has stated.
    coverage = digest(f[8]),
  }
  if #s.epoch <= 64 and string.find(s.epoch, '^%x+%.%x+%.%x+%.%x+$')
    and s.applied and s.watermark and s.floor and s.evictions and s.evicted
    and string.gsub(s.wildcards, '%d+ [kt]%*:%S+\n', '') == ''
    and on('ZSCORE', KEYS[2], 'e:' .. s.epoch) then
    return s
  end
  redis.call('HDEL', KEYS[1], 'epoch')
  malformed = malformed + 1
  return nil
end

local function time_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Returns the claim of the leader, or nil if it has expired. A clock that went back does not prolong it. A claim of
-- a later version begins with `v` and a number.
local function live_claim(now)
  local f = on('HMGET', KEYS[1], 'claim', 'claimed')
  local upto = position(f[2])
  if f[1] and upto and upto > now and upto - now <= CLAIM_LIFETIME
    and (string.find(f[1], '^%x+%.%x+%.%x+%.%x+%.%x+ ') or string.find(f[1], '^v%d+ ')) then
    return f[1]
  end
  return nil
end

-- Returns the subject of an entry, `k:<key>`: the part of its key after the bucket's prefix.
local function subject(key)
  return string.sub(key, #KEYS[1] - #'state' + 1)
end

-- Returns the highest score among the members, 0 if there is none.
local function newest(set, members)
  local highest = 0
  for from = 1, #members, 1000 do
    local upto = math.min(from + 999, #members)
    for _, score in ipairs(on('ZMSCORE', set, unpack(members, from, upto))) do
      highest = math.max(highest, score and tonumber(score) or 0)
    end
  end
  return highest
end

-- Whether a text matches a pattern, in which `*` stands for any text: contract::Pattern.
local function matches(pattern, text)
  local first, rest = string.match(pattern, '^([^*]*)%*(.*)$')
  if string.sub(text, 1, #first) ~= first then
    return false
  end
  local at = #first + 1
  while true do
    local piece, behind = string.match(rest, '^([^*]*)%*(.*)$')
    if not piece then
      return #text - at + 1 >= #rest and string.sub(text, #text - #rest + 1) == rest
    end
    local _, upto = string.find(text, piece, at, true)
    if not upto then
      return false
    end
    at, rest = upto + 1, behind
  end
end

-- Whether a wildcard after τ matches one of the subjects.
local function matches_wildcard(s, tau, subjects)
  for lsn, kind, pattern in string.gmatch(s.wildcards, '(%d+) ([kt])%*:(%S+)\n') do
    if tonumber(lsn) <= tau then
      return false
    end
    for _, subject in ipairs(subjects) do
      if string.sub(subject, 1, 1) == kind and matches(pattern, string.sub(subject, 3)) then
        return true
      end
    end
  end
  return false
end

-- The bytes of the signature behind an entry of the formats tg4 and tg6: TRAILER_BYTES in signatures.rs.
local SIGNATURE_BYTES = 36

-- Runs a command that needs memory. Returns false, and leaves the key as it is, if Redis has none left.
local function if_room(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then
    return true
  end
  if string.find(reply.err, 'OOM', 1, true) then
    return false
  end
  redis.call(...)
  return true
end

-- Parses an entry: epoch, τ, stamp, kind, times, definition, tags; nil if it is malformed, truncated or without expiry.
-- `size`: its bytes, if `raw` is only its beginning.
local function parse(key, raw, size)
  local first, rest = '^tg([3456]) (%x+%.%x+%.%x+%.%x+) (%d+) (%d+) ',
    ' (%d+) %d+ (%d+) %d+ (%x+) (%d+) (%d+)([^\n]*)\n()'
  local format, epoch, tau, stamp, kind, loaded, ttl, definition, head, body, tags, start =
    string.match(raw, first .. '([pau])' .. rest)
  if not format then
    -- Its value changes by the clock; nodes read the database's clock, not this server's.
    format, epoch, tau, stamp, kind, loaded, ttl, definition, head, body, tags, start =
      string.match(raw, first .. '([PA]) %d+' .. rest)
    kind = kind and string.lower(kind)
  end
  local digits = tau and #tau
  tau, stamp = position(tau), position(stamp)
  local signature = (format == '4' or format == '6') and SIGNATURE_BYTES or 0
  if not (tau and stamp)
    or (size or #raw) ~= start - 1 + tonumber(head) + tonumber(body) + signature then
    return nil
  end
  local left = redis.call('PTTL', key)
  return left >= 0 and {
    epoch = epoch, tau = tau, digits = digits, stamp = stamp, kind = kind, tags = tags, left = left,
    loaded = tonumber(loaded), ttl = tonumber(ttl), definition = definition,
  }
end

-- Whether an entry is valid: coherence::Fence::stands within the epoch, and not evicted.
local function is_valid(s, key, evictions, entry)
  if entry.epoch ~= s.epoch or entry.tau < s.floor or entry.stamp < s.evicted then
    return false
  end
  local subjects, tags = { subject(key) }, {}
  for tag in string.gmatch(entry.tags, '%S+') do
    tags[#tags + 1] = tag
    subjects[#subjects + 1] = 't:' .. tag
  end
  return entry.tau >= newest(KEYS[2], subjects) and not matches_wildcard(s, entry.tau, subjects)
    and (entry.stamp == s.evictions or entry.stamp >= newest(evictions, tags))
end

-- Touches a valid entry: prolongs its life (coherence::SlidingTtl), and raises its τ to the applied position
-- (coherence::Fence::confirm). `touch`: the limit of its life after its load, in ms (0: unlimited while it is
-- used), and the position without which nothing is prolonged, since no answer is proven. Returns the entry
-- after the touch.
local function touch_entry(s, key, raw, entry, touch)
  local longest, proven_from = string.match(touch, '^(%d+) (%d+)$')
  longest = tonumber(longest)
  if entry.kind ~= 'p' or s.applied < tonumber(proven_from) then
    return raw
  end
  local after = entry.ttl
  if longest > 0 then
    after = math.min(after, longest - math.max(time_ms() - entry.loaded, 0))
  end
  if after <= entry.left + entry.ttl / 64 then
    return raw
  end
  if entry.tau < s.applied then
    local offset = #'tg3  ' + #entry.epoch
    local raised = string.sub(raw, 1, offset) .. s.applied_text
      .. string.sub(raw, offset + entry.digits + 1)
    local is_written
    if #s.applied_text == entry.digits then
      is_written = if_room('SETRANGE', key, offset, s.applied_text)
    else
      is_written = if_room('SET', key, raised, 'KEEPTTL')
    end
    if not is_written then
      return raw
    end
    raw = raised
  end
  entry.left = after
  redis.call('PEXPIRE', key, string.format('%.0f', after))
  return raw
end

-- Publishes on the node stream. Messages are numbered without gaps, so that a reader notices every loss.
-- An empty message is not published: only the first bucket gets the others. A signature is in front of its
-- message (signatures.rs).
local function publish(stream, length, field, payload)
  if payload == '' then
    return
  end
  local n = redis.pcall('HINCRBY', KEYS[1], 'sent', 1)
  if type(n) == 'table' then
    n = 1
    redis.call('HSET', KEYS[1], 'sent', n)
  end
  local signature, text = string.match(payload, '^(%x+%.%x+%.[%x-]+) (.*)$')
  if signature then
    on('XADD', stream, 'MAXLEN', '~', length, '*', 'n', n, field, text, 'mac', signature)
  else
    on('XADD', stream, 'MAXLEN', '~', length, '*', 'n', n, field, payload)
  end
end
