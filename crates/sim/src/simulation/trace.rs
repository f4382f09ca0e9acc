//! The events of a run, and their digest: two runs of a seed are equal if their digests are.

use std::hash::{DefaultHasher, Hash, Hasher};

/// An event. The digest covers the sequence of variants and the names in them.
#[derive(Clone, Debug, Hash)]
pub(super) enum TraceEvent {
    /// A fault begins or ends.
    Fault(&'static str, u64),
    /// A commit is written, at this position.
    Commit(usize, u64),
    /// A commit becomes visible.
    Visible(usize),
    /// The origin answers with these versions.
    Load(usize, Option<[u64; 3]>),
    /// The standby answers with these versions.
    LoadFromStandby(usize, Option<[u64; 3]>),
    /// A key scan returns this number of rows.
    KeyScan(usize),
    /// A node acquires the slot.
    Lead { position: u64, new_slot: bool, unbroken: bool },
    /// The shared tier is offered a batch.
    Apply { upto: u64, watermark: u64, events: usize },
    /// The database may discard the log up to here.
    Confirmed(u64),
    /// The end of the log is sampled.
    Sampled(u64),
    /// The shared tier is called.
    Shared(&'static str, u64),
    /// A message of the node stream arrives.
    Message(&'static str, u64),
    /// A purge request ends, at this position.
    Purge(&'static str, u64),
    /// A read returns: key, tier, versions, as of, stale.
    Answer(usize, &'static str, Option<[u64; 3]>, Option<u64>, Option<&'static str>),
    /// A read fails.
    ReadFailed(usize, &'static str),
}

/// The record of a run.
#[derive(Debug, Default)]
pub(super) struct Trace {
    hasher: DefaultHasher,
    pub(super) events: u64,
    /// Kept only on request.
    pub(super) lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn note(&mut self, now: u64, node: Option<usize>, event: &TraceEvent) {
        (now, node, event).hash(&mut self.hasher);
        self.events += 1;
        if let Some(lines) = &mut self.lines {
            let who = node.map_or("-".to_owned(), |node| node.to_string());
            lines.push(format!("{:>12.6} {who} {event:?}", now as f64 / 1e9));
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.hasher.finish()
    }
}
