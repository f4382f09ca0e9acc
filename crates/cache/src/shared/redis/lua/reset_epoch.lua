-- Starts a new epoch.
-- KEYS: state, tombstones, evictions, stream
-- ARGV: epoch, at, watermark, stream length, message or ''
-- Reply: malformed

-- Entries and leases contain the epoch that they were written in, so they need not be removed.
state()
redis.call('UNLINK', KEYS[2])
redis.call('ZADD', KEYS[2], '+inf', 'e:' .. ARGV[1])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'applied', ARGV[2], 'watermark', ARGV[3],
  'floor', ARGV[2], 'wildcards', '')
local counts = redis.call('HMGET', KEYS[1], 'evictions', 'evicted')
if not (position(counts[1]) and position(counts[2])) then
  redis.call('UNLINK', KEYS[3])
  redis.call('HSET', KEYS[1], 'evictions', 0, 'evicted', 0)
end
publish(KEYS[4], ARGV[4], 'batch', ARGV[5])
return { malformed }
