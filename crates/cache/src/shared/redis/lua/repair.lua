-- Resets one bucket within the tier's epoch: coherence::buckets::needs_reset.
-- KEYS: state, tombstones, evictions
-- ARGV: epoch, at, the epoch that the bucket was seen in, or ''
-- Reply: malformed, 1 if it was reset, 0 if it has changed since it was seen

local s = state()
if (s and s.epoch or '') ~= ARGV[3] or s and s.epoch == ARGV[1] and s.applied >= tonumber(ARGV[2]) then
  return { malformed, 0 }
end
-- Entries of the same epoch may be stored here. All of them count as evicted: their stamps are counts of
-- evictions, which never reach the time in ms.
local count = math.max(time_ms(), position(redis.call('HGET', KEYS[1], 'evictions')) or 0) + 1
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('ZADD', KEYS[2], '+inf', 'e:' .. ARGV[1])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'applied', ARGV[2], 'watermark', 0,
  'floor', ARGV[2], 'wildcards', '', 'evictions', count, 'evicted', count)
return { malformed, 1 }
