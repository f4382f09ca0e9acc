-- Returns the position of a bucket.
-- KEYS: state, tombstones
-- Reply: malformed [, epoch, applied, watermark, coverage]

local s = state()
if not s then
  return { malformed }
end
return { malformed, s.epoch, s.applied_text, s.watermark_text, s.coverage }
