//! The last invalidations, and how far each has got.

use std::collections::VecDeque;
use std::fmt::Display;

use coherence::{Cause, Lsn, Subject};
use parking_lot::Mutex;
use serde::{Serialize, Serializer};

/// One invalidation (C6): what, why, where in the log, when, and how far it has got.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Position in the log, shown as `16/B374D848`.
    #[serde(serialize_with = "text")]
    pub position: Lsn,
    /// Why.
    pub cause: Cause,
    /// What, shown as `k:<key>`, `t:<tag>`, a wildcard or `*`.
    #[serde(serialize_with = "texts")]
    pub subjects: Vec<Subject>,
    /// How many there were, where the list was cut.
    pub subjects_total: usize,
    /// When the database says it was committed, µs since 1970.
    pub committed_us: u64,
    /// When it was applied in the shared tier, ms since 1970; null while it is not.
    pub shared_ms: Option<u64>,
    /// When it was applied in this node's in-process tier.
    pub local_ms: Option<u64>,
    /// How often applying it had to be tried again.
    pub retries: u32,
}

// Only who asks pays for texts: a backlog of the log writes many records that nobody will read.

fn text<S: Serializer>(shown: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(shown)
}

fn texts<S: Serializer>(shown: &[Subject], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(shown.iter().map(ToString::to_string))
}

/// A bounded list of [`Record`]s, newest last.
#[derive(Debug)]
pub struct Journal {
    capacity: usize,
    records: Mutex<VecDeque<Record>>,
}

/// How many subjects of one commit are kept.
pub const SUBJECTS_KEPT: usize = 20;

impl Journal {
    /// Keeps the last `capacity` invalidations.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), records: Mutex::default() }
    }

    /// Adds one.
    pub fn push(&self, mut record: Record) {
        record.subjects.truncate(SUBJECTS_KEPT);
        let mut records = self.records.lock();
        if records.len() == self.capacity {
            records.pop_front();
        }
        records.push_back(record);
    }

    /// The newest first, at most `limit`; only those that name `subject` if one is given.
    #[must_use]
    pub fn latest(&self, limit: usize, subject: Option<&Subject>) -> Vec<Record> {
        let records = self.records.lock();
        let touches =
            |record: &&Record| subject.is_none_or(|subject| record.subjects.contains(subject));
        records.iter().rev().filter(touches).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(n: u64) -> Subject {
        format!("t:product-{n}").parse().expect("a tag")
    }

    #[test]
    fn keeps_the_newest_and_finds_by_subject() {
        let journal = Journal::new(2);
        for n in 1..=3 {
            journal.push(Record {
                position: Lsn(n),
                cause: Cause::Commit,
                subjects: vec![product(n)],
                subjects_total: 1,
                committed_us: n,
                shared_ms: Some(n),
                local_ms: None,
                retries: 0,
            });
        }
        let positions =
            |found: Vec<Record>| found.into_iter().map(|r| r.position).collect::<Vec<_>>();
        assert_eq!(positions(journal.latest(10, None)), [Lsn(3), Lsn(2)]);
        assert_eq!(positions(journal.latest(10, Some(&product(2)))), [Lsn(2)]);
        assert!(journal.latest(10, Some(&product(1))).is_empty());
        let shown = serde_json::to_value(journal.latest(1, None)).expect("JSON");
        let one = &shown[0];
        assert_eq!((&one["position"], &one["cause"]), (&"0/3".into(), &"commit".into()));
        assert_eq!(one["subjects"], serde_json::json!(["t:product-3"]));
    }
}
