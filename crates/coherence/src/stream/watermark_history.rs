//! The watermark over time: the token of a load from a service that may lag.
//!
//! A load from the database itself takes W, as known before the load begins, for its τ: a snapshot
//! that is taken later shows every commit up to W. A service in between may read from a standby or
//! from a cache of its own. If it shows a state of the database that is at most `lag` old, its answer
//! to a request at time t shows every commit up to W *as of t − lag*, and this W is its τ. So a
//! commit refuses fills until it has been visible for `lag`; with a lag of zero this is the usual rule.
//!
//! Times come from the monotonic clock of one process and are never compared with another's. A history
//! may learn of W late, never early: it then returns an older W, which is as safe and refuses more.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Mono;
use crate::position::{Epoch, Lsn};
use crate::rules::{Rule, on};

/// The recent values of W that a node has seen.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct WatermarkHistory {
    epoch: Option<Epoch>,
    /// When each W was learned of, oldest first; both parts ascend.
    steps: VecDeque<(Mono, Lsn)>,
}

impl WatermarkHistory {
    /// The least time that the history covers. For an earlier time it knows W only if W has not moved
    /// since.
    pub const REACH: Duration = Duration::from_secs(10);

    /// Steps that follow each other sooner are merged, as if all had come with the last one.
    const GRAIN: Duration = Duration::from_millis(5);

    /// Records that W of `epoch` is `watermark`. `now` was read after W had reached it.
    pub fn note(&mut self, epoch: Epoch, watermark: Lsn, now: Mono) {
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.steps.clear();
        }
        if self.steps.back().is_some_and(|(_, known)| *known >= watermark) {
            return;
        }
        let close = match self.steps.len().checked_sub(2).and_then(|at| self.steps.get(at)) {
            Some((before, _)) => {
                self.steps.back().is_some_and(|(last, _)| last.since(*before) < Self::GRAIN)
            }
            None => false,
        };
        if close {
            self.steps.pop_back();
        }
        self.steps.push_back((now, watermark));
        // The newest step outside the reach says which W held before the steps inside it.
        while self.steps.get(1).is_some_and(|(at, _)| now.since(*at) >= Self::REACH) {
            self.steps.pop_front();
        }
    }

    /// Returns the epoch and τ of an answer that shows the database as of `as_of` or later. `None` if W
    /// at that time is unknown.
    #[must_use]
    pub fn token(&self, as_of: Mono) -> Option<(Epoch, Lsn)> {
        let mut known = self.steps.iter().rev();
        let step = if on(Rule::LagDelaysToken) {
            // Strictly before: a state shown at that same moment may have been read just before it.
            known.find(|(learned, _)| *learned < as_of)
        } else {
            known.next()
        };
        Some((self.epoch?, step?.1))
    }

    /// Returns the time at which W is known to have reached `upto`: every commit up to there was visible
    /// by then. `None` if W has not reached it.
    #[must_use]
    pub fn reached(&self, upto: Lsn) -> Option<Mono> {
        let short = self.steps.partition_point(|(_, watermark)| *watermark < upto);
        self.steps.get(short).map(|(learned, _)| *learned)
    }

    /// Drops everything: the epoch was lost, and W is unknown until the next [`note`](Self::note).
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Returns the number of steps kept.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps.len()
    }
}

#[cfg(test)]
#[path = "watermark_history_tests.rs"]
mod tests;
