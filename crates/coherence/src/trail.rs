//! Where the watermark stood when: the token of a load from a service that may lag.
//!
//! A load from the database itself has W, as it was known before the load began, for its τ: whatever
//! begins now shows every commit up to W. A service in between may read a standby or a cache of its
//! own. If it shows what the database showed at most `lag` ago, then what it answers to a question of
//! time t shows every commit up to W *as it stood at t − lag*, and that is its τ. So a commit keeps
//! refusing fills until it has been visible for as long as the service may lag; and where the lag is
//! zero this is the usual rule.
//!
//! Times are of one process's monotonic clock and never compared with another's. A trail hears of W
//! late, never early: then it names an older W, which is as safe, and refused more often.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Mono;
use crate::position::{Epoch, Lsn};
use crate::rules::{Rule, on};

/// What a node remembers of W, for a while.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Trail {
    epoch: Option<Epoch>,
    /// When W was heard of, oldest first; both only rise.
    steps: VecDeque<(Mono, Lsn)>,
}

impl Trail {
    /// How far back it remembers at least. Of a time before, it knows W only if that has not moved
    /// since.
    pub const REACH: Duration = Duration::from_secs(10);

    /// Steps that follow sooner are taken together, as if all had come with the last.
    const GRAIN: Duration = Duration::from_millis(5);

    /// W of history `epoch` is `watermark`; `now` was read after that was so.
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
        // The newest step that is out of reach says what held before those within it.
        while self.steps.get(1).is_some_and(|(at, _)| now.since(*at) >= Self::REACH) {
            self.steps.pop_front();
        }
    }

    /// τ, with its history, of an answer that shows what the database showed at `as_of` or later.
    /// `None`: nobody knows how far that was.
    #[must_use]
    pub fn token(&self, as_of: Mono) -> Option<(Epoch, Lsn)> {
        let mut known = self.steps.iter().rev();
        let step = if on(Rule::LagHoldsToken) {
            // Not at the same moment: what was shown then may have been read just before.
            known.find(|(heard, _)| *heard < as_of)
        } else {
            known.next()
        };
        Some((self.epoch?, step?.1))
    }

    /// When W was heard to have reached `upto`: everything up to there was visible by then. `None`: that has
    /// not been heard.
    #[must_use]
    pub fn reached(&self, upto: Lsn) -> Option<Mono> {
        let short = self.steps.partition_point(|(_, watermark)| *watermark < upto);
        self.steps.get(short).map(|(heard, _)| *heard)
    }

    /// The history was lost: nothing is known until W is heard of again.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// How many steps are kept.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps.len()
    }
}

#[cfg(test)]
#[path = "trail_tests.rs"]
mod tests;
