-- KEYS: state, tombstones, lease
-- ARGV: token
-- Reply: malformed

local held = on('GET', KEYS[3])
if held and string.match(held, ' (%d+)$') == ARGV[1] then
  redis.call('UNLINK', KEYS[3])
end
return { malformed }
