//! The shop's only clock.

use std::time::Instant;

#[expect(
    clippy::disallowed_methods,
    reason = "the shop is an application of its own: no virtual time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
