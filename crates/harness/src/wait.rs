//! Waits for events, with a limit.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const STEP: Duration = Duration::from_millis(5);

/// Real time: the harness watches real processes.
#[expect(clippy::disallowed_methods, reason = "real processes are waited for in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Calls `probe` repeatedly until it returns a value, for at most `limit`.
///
/// # Errors
/// When `limit` passes, with the name of the awaited `event`; or at once, with the error of `probe`.
pub fn until<T>(
    event: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = now() + limit;
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if now() >= deadline {
            bail!("harness: {event}: did not happen within {limit:?}");
        }
        std::thread::sleep(STEP);
    }
}
