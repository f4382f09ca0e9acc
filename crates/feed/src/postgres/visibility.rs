//! W: asking the primary what new snapshots see.

use std::sync::Arc;
use std::time::Duration;

use coherence::{Chain, Snapshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::server::Control;
use crate::error::FeedError;

/// So often the question about a commit is asked again at once: it mostly becomes visible while the
/// first answers travel.
const AT_ONCE: u32 = 8;
/// Then there are pauses between the questions, from the first, doubled, up to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// So long an answer speaks for commits that arrive after it: a backlog was mostly visible before it
/// was read. Not for ever, as the log has 32 bits of a transaction's id only.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// Asks for the watermark of one stream.
pub(super) struct Visibility {
    control: Arc<Control>,
    asking: Option<JoinHandle<Result<Snapshot, FeedError>>>,
    /// Questions since the last commit arrived.
    asked: u32,
    ask_at: Instant,
    /// The last answer, and when it came.
    last: Option<(Instant, Snapshot)>,
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
        Self { control, asking: None, asked: 0, ask_at: Instant::now(), last: None }
    }

    /// A commit arrived: it is asked about at once.
    pub(super) fn hurry(&mut self) {
        self.asked = 0;
        self.ask_at = Instant::now();
    }

    /// Tells the chain of the last answer once more: what one snapshot shows, every later one does. Only
    /// for commits that the very server told that has answered. One that has crashed since then may
    /// have given an id to another transaction.
    pub(super) fn recall(&self, chain: &mut Chain) {
        if let Some((at, snapshot)) = &self.last
            && at.elapsed() < GOOD_FOR
        {
            chain.snapshot(snapshot);
        }
    }

    /// Waits until a snapshot was answered and told to the chain; for ever if none is needed.
    /// Dropping it loses nothing.
    pub(super) async fn next(&mut self, chain: &mut Chain) -> Result<(), FeedError> {
        if self.asking.is_none() {
            if !chain.is_waiting() {
                return std::future::pending().await;
            }
            // A timer takes a millisecond even for a moment that has passed.
            if Instant::now() < self.ask_at {
                sleep_until(self.ask_at).await;
            }
            let control = self.control.clone();
            self.asking = Some(tokio::spawn(async move { snapshot(&control).await }));
        }
        let asking = self.asking.as_mut().expect("it was just set");
        let answer = asking.await;
        self.asking = None;
        let snapshot = answer.unwrap_or_else(|err| Err(FeedError::unavailable(ASKING, err)))?;
        chain.snapshot(&snapshot);
        self.last = Some((Instant::now(), snapshot));
        self.asked = self.asked.saturating_add(1);
        self.ask_at = Instant::now() + pause_after(self.asked);
        Ok(())
    }
}

fn pause_after(asked: u32) -> Duration {
    match asked.checked_sub(AT_ONCE) {
        None => Duration::ZERO,
        Some(late) => (FIRST_PAUSE * (1 << late.min(10))).min(LONGEST_PAUSE),
    }
}

const ASKING: &str = "asking what new snapshots see";

async fn snapshot(control: &Control) -> Result<Snapshot, FeedError> {
    let text = control.text(ASKING, "select pg_current_snapshot()").await?;
    Snapshot::parse(&text).ok_or_else(|| FeedError::Malformed(format!("snapshot {text:?}")))
}

/// A transaction id that is given out now, and so is above those of all open transactions.
pub(super) async fn draw_xid(control: &Control) -> Result<u64, FeedError> {
    let row = control.row(ASKING, "select pg_current_xact_id()::text", &[]).await?;
    let text: &str = row.get(0);
    text.parse().map_err(|_| FeedError::Malformed(format!("transaction id {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_hangs_is_asked_about_ever_less_often() {
        let ms = |asked| pause_after(asked).as_millis();
        assert_eq!([1, 7, 8, 9, 12, 13, 1_000_000].map(ms), [0, 0, 1, 2, 16, 20, 20]);
    }
}
