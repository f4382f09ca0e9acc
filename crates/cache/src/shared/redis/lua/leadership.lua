-- Returns the live claim of a tier, and the mappings that its leader applies.
-- KEYS: state, tombstones
-- Reply: malformed, the claim or '', the digest and the mappings or ''

state()
return {
  malformed,
  live_claim(time_ms()) or '',
  on('HGET', KEYS[1], 'coverage') or '',
}
