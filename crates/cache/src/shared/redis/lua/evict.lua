-- KEYS: state, tombstones, evictions, stream, the entries …
-- ARGV: stream length, message or '', how many evicted tags to keep apart, '1' for everything or '',
--       the tags …
-- Reply: malformed

local s = state()
for i = 5, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
-- Without a state no entry counts, and none needs to be told from later ones.
if s then
  local count, evicted = s.evictions, s.evicted
  if #ARGV > 4 then
    count = count + 1
    local marks = {}
    for i = 5, #ARGV do
      marks[#marks + 1] = count
      marks[#marks + 1] = ARGV[i]
    end
    on('ZADD', KEYS[3], unpack(marks))
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
