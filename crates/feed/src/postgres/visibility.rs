//! W: asking the primary what new snapshots see.

use std::sync::Arc;
use std::time::Duration;

use coherence::{Lsn, Snapshot, Watermark};
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

/// Follows the watermark of one stream.
pub(super) struct Visibility {
    control: Arc<Control>,
    watermark: Watermark,
    /// A transaction given out after the slot was made: until it and all older ones have ended,
    /// nothing is proven.
    after: Option<u64>,
    position: Lsn,
    asking: Option<JoinHandle<Result<Snapshot, FeedError>>>,
    /// Questions since the last commit arrived.
    asked: u32,
    ask_at: Instant,
}

impl Drop for Visibility {
    fn drop(&mut self) {
        if let Some(asking) = &self.asking {
            asking.abort();
        }
    }
}

impl Visibility {
    /// `after`: a transaction id given out after the slot was there. Until it and all older ones
    /// have ended, or somebody has [`seen`](Self::seen) the position, W proves nothing: a commit
    /// before the slot's position may still be invisible.
    pub(super) fn new(control: Arc<Control>, position: Lsn, after: u64) -> Self {
        Self {
            control,
            watermark: Watermark::starting(position),
            after: Some(after),
            position,
            asking: None,
            asked: 0,
            ask_at: Instant::now(),
        }
    }

    /// W.
    pub(super) fn watermark(&self) -> Lsn {
        if self.after.is_some() { Lsn::ZERO } else { self.watermark.visible() }
    }

    /// Everything up to `watermark` was visible when a leader of before said so.
    pub(super) fn seen(&mut self, watermark: Lsn) {
        if watermark >= self.position {
            self.after = None;
        }
    }

    /// A commit arrived.
    pub(super) fn commit(&mut self, end: Lsn, xid: u32) {
        self.watermark.commit(end, xid);
        self.asked = 0;
        self.ask_at = Instant::now();
    }

    /// The log was received up to here.
    pub(super) fn progress(&mut self, upto: Lsn) {
        self.watermark.progress(upto);
    }

    /// Waits until a snapshot was answered; for ever if none is needed. Dropping it loses nothing.
    pub(super) async fn next(&mut self) -> Result<(), FeedError> {
        if self.asking.is_none() {
            if self.after.is_none() && !self.watermark.is_waiting() {
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
        self.watermark.snapshot(&snapshot);
        if self.after.is_some_and(|xid| xid < snapshot.xmin) {
            self.after = None;
        }
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
