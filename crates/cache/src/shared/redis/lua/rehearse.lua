-- Tries each command of the other scripts on a key that means nothing, and leaves nothing behind.
-- KEYS: that key
-- Reply: malformed, then each command that is not allowed …

local reply, told = { 0 }, {}

-- That a command fails for another reason is none of our concern here.
local function try(command, ...)
  local answer = redis.pcall(command, KEYS[1], ...)
  local said = type(answer) == 'table' and answer.err
  local refused = said and (string.find(said, 'NOPERM', 1, true)
    or string.find(said, "can't run this command", 1, true))
  if refused and not told[command] then
    told[command] = true
    reply[#reply + 1] = string.lower(command)
  end
end

try('UNLINK')
try('SET', 'x')
try('GET')
try('GETRANGE', 0, 0)
try('PEXPIRE', 1000)
try('PTTL')
try('UNLINK')
try('HSET', 'f', 1)
try('HGET', 'f')
try('HMGET', 'f')
try('HINCRBY', 'f', 1)
try('HDEL', 'f')
try('UNLINK')
try('ZADD', 1, 'm')
try('ZSCORE', 'm')
try('ZMSCORE', 'm')
try('ZCARD')
try('ZCOUNT', 0, 0)
try('ZREMRANGEBYRANK', 0, 0)
try('ZPOPMIN')
try('UNLINK')
try('XADD', '*', 'f', 1)
try('XRANGE', '-', '+')
try('XREVRANGE', '+', '-')
try('UNLINK')
return reply
