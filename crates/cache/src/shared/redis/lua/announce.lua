-- Announces a node, and returns the announcements of the others. Nothing is proven by them.
-- KEYS: nodes
-- ARGV: id, text, life in ms
-- Reply: malformed, announcements of other nodes: id, a space, text

local MOST = 256

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local own = ARGV[1] .. ' '
local others = {}
for _, record in ipairs(on('ZRANGE', KEYS[1], 0, MOST - 1)) do
  if string.sub(record, 1, #own) == own then
    redis.call('ZADD', KEYS[1], 0, record)
  end
end
local ended = redis.call('ZCOUNT', KEYS[1], '-inf', now)
if ended > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[1], 0, ended - 1)
end
for _, record in ipairs(on('ZRANGE', KEYS[1], 0, MOST - 1)) do
  others[#others + 1] = record
end
redis.call('ZADD', KEYS[1], now + ARGV[3], own .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
table.insert(others, 1, malformed)
return others
