-- Returns the schema that the log was applied under, or records it.
-- KEYS: state, tombstones
-- ARGV: none; or epoch, schema
-- Reply: malformed [, epoch, the recorded schema of this epoch or '']; or malformed, 1 if it was recorded

local s = state()
if ARGV[1] then
  if not s or s.epoch ~= ARGV[1] then
    return { malformed, 0 }
  end
  redis.call('HSET', KEYS[1], 'schema', ARGV[1] .. ' ' .. ARGV[2])
  return { malformed, 1 }
end
if not s then
  return { malformed }
end
local epoch, schema = string.match(redis.call('HGET', KEYS[1], 'schema') or '', '^(%S+) (.*)$')
return { malformed, s.epoch, epoch == s.epoch and schema or '' }
