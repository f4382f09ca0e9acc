-- KEYS: state, tombstones, stream, the entries that the events name …
-- ARGV: epoch, prev, upto, watermark, floor, stream length, message,
--       one position per entry …, then a tag's subject and its position, in turn …
-- Reply: malformed, 'applied' | 'unproven' | 'epoch', the tier's | 'missing', applied

local s = state()
if not s then
  return { malformed, 'unproven' }
end
if s.epoch ~= ARGV[1] then
  return { malformed, 'epoch', s.epoch }
end
if s.applied < tonumber(ARGV[2]) then
  return { malformed, 'missing', s.applied_text }
end

local raise = {}
for i = 4, #KEYS do
  raise[#raise + 1] = ARGV[i + 4]
  raise[#raise + 1] = subject(KEYS[i])
end
for i = #KEYS + 5, #ARGV, 2 do
  raise[#raise + 1] = ARGV[i + 1]
  raise[#raise + 1] = ARGV[i]
end
if #raise > 0 then
  redis.call('ZADD', KEYS[2], 'GT', unpack(raise))
end
if tonumber(ARGV[5]) > s.floor then
  redis.call('HSET', KEYS[1], 'floor', ARGV[5])
end

for i = 4, #KEYS do
  local header = on('GETRANGE', KEYS[i], 0, 127)
  if header ~= '' then
    local epoch, tau = string.match(header, '^tg1 (%S+) (%d+) ')
    tau = epoch == s.epoch and position(tau)
    if not tau or tau < tonumber(ARGV[i + 4]) then
      redis.call('UNLINK', KEYS[i])
    end
  end
end

-- Last, so that a failure on the way leaves the old position and the batch is sent again.
publish(KEYS[3], ARGV[6], 'batch', ARGV[7])
if tonumber(ARGV[3]) > s.applied then
  redis.call('HSET', KEYS[1], 'applied', ARGV[3])
end
if tonumber(ARGV[4]) > s.watermark then
  redis.call('HSET', KEYS[1], 'watermark', ARGV[4])
end
return { malformed, 'applied' }
