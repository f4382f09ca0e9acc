-- Releases a lease.
-- KEYS: state, tombstones, lease
-- ARGV: token
-- Reply: malformed

local lease = on('GET', KEYS[3])
if lease and string.match(lease, ' (%d+)$') == ARGV[1] then
  redis.call('UNLINK', KEYS[3])
end
return { malformed }
