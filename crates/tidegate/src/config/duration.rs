//! Durations such as `50ms`.

use std::time::Duration;

const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Parses a duration with a unit, such as `50ms`, `10s` or `5m`: more than zero, at most a day. `name`: the
/// key, for the error.
pub(super) fn parse(name: &str, text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text).map_err(|err| {
        format!("{name} = {text:?}: {err}; write a time such as \"50ms\" or \"10s\"")
    })?;
    if parsed.is_zero() || parsed > LONGEST {
        return Err(format!("{name} = {text:?}: must be more than zero and at most a day"));
    }
    Ok(parsed)
}
