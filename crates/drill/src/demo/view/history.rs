//! The recent snapshots of a run, and the rates computed from them.

use std::time::Instant;

use crate::clock::now;
use crate::demo::live::Snapshot;

/// A URL to open while a run is in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The URL.
    pub url: String,
    /// A short description of the page.
    pub description: String,
}

/// Snapshots that rates and curves are computed from: the last minute at four a second.
const MAX_SNAPSHOTS: usize = 240;

/// Title, links and recent snapshots of a run.
pub(super) struct History {
    pub(super) title: String,
    pub(super) links: Vec<Link>,
    pub(super) snapshots: Vec<(Instant, Snapshot)>,
}

impl History {
    pub(super) fn add(&mut self, snapshot: Snapshot) {
        if self.snapshots.len() >= MAX_SNAPSHOTS {
            self.snapshots.remove(0);
        }
        self.snapshots.push((now(), snapshot));
    }

    pub(super) fn last(&self) -> Option<&Snapshot> {
        self.snapshots.last().map(|(_, snapshot)| snapshot)
    }

    /// Returns the rate of a count per second, over the last `seconds`.
    pub(super) fn rate(&self, seconds: usize, count: impl Fn(&Snapshot) -> u64) -> f64 {
        let ticks = seconds * 4;
        let start = self.snapshots.len().saturating_sub(ticks + 1);
        self.rate_between(start, self.snapshots.len(), count)
    }

    /// Returns the rate of a count in each of the last `points` seconds, oldest first.
    pub(super) fn curve(&self, points: usize, count: impl Fn(&Snapshot) -> u64) -> Vec<f64> {
        let end = self.snapshots.len();
        (0..points)
            .rev()
            .filter_map(|back| {
                let end = end.checked_sub(back * 4)?;
                let start = end.checked_sub(5)?;
                Some(self.rate_between(start, end, &count))
            })
            .collect()
    }

    fn rate_between(&self, start: usize, end: usize, count: impl Fn(&Snapshot) -> u64) -> f64 {
        match self.snapshots.get(start..end) {
            Some([(began, first), .., (ended, last)]) => {
                let seconds = ended.saturating_duration_since(*began).as_secs_f64();
                count(last).saturating_sub(count(first)) as f64 / seconds.max(0.001)
            }
            _ => 0.0,
        }
    }
}
