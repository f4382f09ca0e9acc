-- Drops tombstones and raises the floor.
-- KEYS: state, tombstones
-- ARGV: upto, the number to drop at most, the number that may stay: the oldest ones beyond it are dropped
--       too
-- Reply: malformed, the number dropped, the number still to drop

local s = state()
if not s then
  return { malformed, 0, 0 }
end
local upto, text = tonumber(ARGV[1]), ARGV[1]
-- The guard is one of them, with the highest score.
local over = redis.call('ZCARD', KEYS[2]) - 1 - tonumber(ARGV[3])
if over > 0 then
  local last = tonumber(redis.call('ZRANGE', KEYS[2], over - 1, over - 1, 'WITHSCORES')[2])
  if last > upto then
    upto, text = last, string.format('%.0f', last)
  end
end
if upto > s.watermark then
  upto, text = s.watermark, s.watermark_text
end
local count = redis.call('ZCOUNT', KEYS[2], '-inf', text)
local kept, gone = {}, 0
for line in string.gmatch(s.wildcards, '[^\n]+\n') do
  if tonumber(string.match(line, '^%d+')) > upto then
    kept[#kept + 1] = line
  else
    gone = gone + 1
  end
end
if count + gone == 0 then
  return { malformed, 0, 0 }
end
-- The floor first: fills that tombstones still refuse are refused twice, which is harmless.
if upto > s.floor then
  redis.call('HSET', KEYS[1], 'floor', text)
end
if gone > 0 then
  redis.call('HSET', KEYS[1], 'wildcards', table.concat(kept))
end
local now = math.min(count, tonumber(ARGV[2]))
if now > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, now - 1)
end
return { malformed, now + gone, count - now }
