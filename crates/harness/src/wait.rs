//! Waiting with a bound.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const STEP: Duration = Duration::from_millis(5);

/// The harness watches real processes, so it lives in real time.
#[expect(clippy::disallowed_methods, reason = "real processes are waited for in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Asks `probe` again and again until it answers something, for at most `limit`.
///
/// # Errors
/// When `limit` passes, naming `what` was awaited; or at once, with the error of `probe`.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = now() + limit;
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if now() >= deadline {
            bail!("harness: {what}: did not happen within {limit:?}");
        }
        std::thread::sleep(STEP);
    }
}
