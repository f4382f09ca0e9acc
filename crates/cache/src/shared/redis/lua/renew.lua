-- KEYS: state, tombstones, lease
-- ARGV: token, ttl in ms
-- Reply: malformed, 1 if it is still held

local s = state()
if s and on('GET', KEYS[3]) == s.epoch .. ' ' .. ARGV[1] then
  return { malformed, redis.call('PEXPIRE', KEYS[3], ARGV[2]) }
end
return { malformed, 0 }
