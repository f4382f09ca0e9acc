//! W: asking the database what new snapshots see.

use std::sync::Arc;
use std::time::Duration;

use coherence::{Chain, Lsn};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::server::Control;
use crate::error::FeedError;

/// Pauses between questions about a commit, from the first, doubled, up to the second. Each question
/// keeps commits waiting for a moment.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// So often it is asked even if nothing waits: who is not heard of loses the lock.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// Asks for the watermark of one stream.
pub(super) struct Visibility {
    control: Arc<Control>,
    asking: Option<JoinHandle<Result<Lsn, FeedError>>>,
    pause: Duration,
    asked: Instant,
}

impl Drop for Visibility {
    fn drop(&mut self) {
        if let Some(asking) = &self.asking {
            asking.abort();
        }
    }
}

impl Visibility {
    pub(super) fn new(control: Arc<Control>) -> Self {
        Self { control, asking: None, pause: FIRST_PAUSE, asked: Instant::now() }
    }

    /// A commit arrived: it is asked about soon.
    pub(super) fn hurry(&mut self) {
        self.pause = FIRST_PAUSE;
    }

    /// Waits until the database has answered, and tells the chain. Dropping it loses nothing.
    pub(super) async fn next(&mut self, chain: &mut Chain) -> Result<(), FeedError> {
        if self.asking.is_none() {
            let pause = if chain.is_waiting() { self.pause } else { SIGN_OF_LIFE };
            // A timer takes a millisecond even for a moment that has passed.
            if Instant::now() < self.asked + pause {
                sleep_until(self.asked + pause).await;
            }
            let control = self.control.clone();
            self.asking = Some(tokio::spawn(async move { control.shown().await }));
        }
        let asking = self.asking.as_mut().expect("it was just set");
        let answer = asking.await;
        self.asking = None;
        self.asked = Instant::now();
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let shown = answer.unwrap_or_else(|err| {
            Err(FeedError::unavailable("asking what new snapshots see", err))
        })?;
        chain.shown(shown);
        Ok(())
    }
}
