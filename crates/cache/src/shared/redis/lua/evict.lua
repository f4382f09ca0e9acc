-- Removes entries and records evicted tags.
-- KEYS: state, tombstones, evictions, stream, the entries …
-- ARGV: stream length, message or '', the number of evicted tags to keep, '1' for everything or '',
--       the tags …
-- Reply: malformed

local s = state()
for i = 5, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
-- Without a state no entry is valid, so there are none to distinguish from later ones.
if s then
  local count, evicted = s.evictions, s.evicted
  if #ARGV > 4 then
    count = count + 1
    local numbers = {}
    for i = 5, #ARGV do
      numbers[#numbers + 1] = count
      numbers[#numbers + 1] = ARGV[i]
    end
    on('ZADD', KEYS[3], unpack(numbers))
    local over = redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[3])
    if over > 0 then
      local oldest = redis.call('ZPOPMIN', KEYS[3], over)
      evicted = math.max(evicted, tonumber(oldest[#oldest]))
    end
  end
  if ARGV[4] == '1' then
    count = count + 1
    evicted = count
    redis.call('UNLINK', KEYS[3])
  end
  redis.call('HSET', KEYS[1], 'evictions', count, 'evicted', evicted)
end
publish(KEYS[4], ARGV[1], 'evict', ARGV[2])
return { malformed }
