-- Renews a lease.
-- KEYS: state, tombstones, lease
-- ARGV: token, ttl in ms
-- Reply: malformed, 1 if the token still has the lease

local s = state()
if s and on('GET', KEYS[3]) == s.epoch .. ' ' .. ARGV[1] then
  return { malformed, redis.call('PEXPIRE', KEYS[3], ARGV[2]) }
end
return { malformed, 0 }
