-- Returns the end of the node stream, and whether a message that was read before is still in it.
-- KEYS: state, tombstones, stream
-- ARGV: the id of that message or ''
-- Reply: malformed, epoch or '', the number of messages sent, the last id, the number of that message or ''

local s = state()
local last = on('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
local known = ARGV[1] ~= '' and redis.call('XRANGE', KEYS[3], ARGV[1], ARGV[1])[1]
return {
  malformed,
  s and s.epoch or '',
  position(redis.call('HGET', KEYS[1], 'sent')) or 0,
  last and last[1] or '0-0',
  known and known[2][1] == 'n' and known[2][2] or '',
}
