//! Everything that happens, as one number: two runs of a seed are the same if this is.

use std::hash::{DefaultHasher, Hash, Hasher};

/// What happened.
#[derive(Clone, Debug, Hash)]
pub(super) enum What {
    /// A fault begins or ends.
    Fault(&'static str, u64),
    /// A commit was written, at this position.
    Commit(usize, u64),
    /// Snapshots see it.
    Visible(usize),
    /// The origin answered with these versions.
    Load(usize, Option<[u64; 3]>),
    /// The standby did.
    LoadOfStandby(usize, Option<[u64; 3]>),
    /// It told which rows there are, so many.
    Roll(usize),
    /// A node begins a history.
    Lead { position: u64, began: bool, incarnation: u64 },
    /// A node moved the tiers.
    Moved { upto: u64, watermark: u64, events: usize },
    /// The database was told that it may forget.
    Confirmed(u64),
    /// The end of the log was sampled.
    Sampled(u64),
    /// The shared tier was asked.
    Shared(&'static str, u64),
    /// A message of the node stream arrived.
    Message(&'static str, u64),
    /// A reader got an answer: key, tier, versions, as of, stale.
    Answer(usize, &'static str, Option<[u64; 3]>, Option<u64>, Option<&'static str>),
    /// A reader got none.
    NoAnswer(usize, &'static str),
}

/// The record of a run.
#[derive(Debug, Default)]
pub(super) struct Trace {
    hasher: DefaultHasher,
    pub(super) events: u64,
    /// Kept only when asked for.
    pub(super) lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn note(&mut self, now: u64, node: Option<usize>, what: &What) {
        (now, node, what).hash(&mut self.hasher);
        self.events += 1;
        if let Some(lines) = &mut self.lines {
            let who = node.map_or("-".to_owned(), |node| node.to_string());
            lines.push(format!("{:>12.6} {who} {what:?}", now as f64 / 1e9));
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.hasher.finish()
    }
}
