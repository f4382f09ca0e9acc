-- Tries each command of the other scripts on a key without a meaning, and removes that key.
-- KEYS: that key
-- Reply: malformed, then each command that is not allowed …

local reply, refused_commands, key = { 0 }, {}, KEYS[1]

-- Other errors of a command do not matter here.
local function try(command, ...)
  local answer = redis.pcall(command, ...)
  local err = type(answer) == 'table' and answer.err
  -- The text depends on the release; the last one is that of Redis 7.2, Redis 8 and Valkey.
  local refused = err and (string.find(err, 'NOPERM', 1, true)
    or string.find(err, "can't run this command", 1, true)
    or string.find(err, 'ACL failure in script', 1, true))
  if refused and not refused_commands[command] then
    refused_commands[command] = true
    reply[#reply + 1] = string.lower(command)
  end
end

try('UNLINK', key)
try('SET', key, 'x')
try('GET', key)
try('GETRANGE', key, 0, 0)
try('SETRANGE', key, 0, 'x')
try('STRLEN', key)
try('PEXPIRE', key, 1000)
try('PTTL', key)
try('UNLINK', key)
try('HSET', key, 'f', 1)
try('HGET', key, 'f')
try('HMGET', key, 'f')
try('HINCRBY', key, 'f', 1)
try('HDEL', key, 'f')
try('UNLINK', key)
try('ZADD', key, 1, 'm')
try('ZSCORE', key, 'm')
try('ZMSCORE', key, 'm')
try('ZCARD', key)
try('ZCOUNT', key, 0, 0)
try('ZRANGE', key, 0, 0, 'WITHSCORES')
try('ZREMRANGEBYRANK', key, 0, 0)
try('ZPOPMIN', key)
try('UNLINK', key)
try('XADD', key, '*', 'f', 1)
try('XRANGE', key, '-', '+')
try('XREVRANGE', key, '+', '-')
try('UNLINK', key)
try('TIME')
return reply
