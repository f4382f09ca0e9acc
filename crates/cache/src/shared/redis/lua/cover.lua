-- States the mappings that the leader applies in a bucket other than the first.
-- KEYS: state, tombstones
-- ARGV: the digest of the mappings that were stated before, the digest and the mappings to state, the position up
--       to which the leader has applied new mappings or ''
-- Reply: malformed

local s = state()
if s and (s.coverage ~= ARGV[1] and s.coverage ~= string.match(ARGV[2], '^%x+')
  or ARGV[3] ~= '' and s.applied > tonumber(ARGV[3])) then
  -- Batches of a leader with other mappings may have been applied here: the bucket has to be reset.
  redis.call('HDEL', KEYS[1], 'epoch')
end
redis.call('HSET', KEYS[1], 'coverage', ARGV[2])
return { malformed }
