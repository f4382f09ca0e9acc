//! The last invalidations, and how far each has got.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::Serialize;

/// One invalidation (C6): what, why, where in the log, when, and how far it has got.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Position in the log, `XXXXXXXX/XXXXXXXX`.
    pub position: String,
    /// `commit`, `application` or `purge`.
    pub cause: &'static str,
    /// `k:<key>`, `t:<tag>` or `*`.
    pub subjects: Vec<String>,
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

    /// The newest first, at most `limit`; only those that touch `subject` if one is given.
    #[must_use]
    pub fn latest(&self, limit: usize, subject: Option<&str>) -> Vec<Record> {
        let records = self.records.lock();
        let touches = |record: &&Record| {
            subject.is_none_or(|subject| record.subjects.iter().any(|have| have == subject))
        };
        records.iter().rev().filter(touches).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_finds_by_subject() {
        let journal = Journal::new(2);
        for n in 1..=3 {
            journal.push(Record {
                position: format!("0/{n}"),
                cause: "commit",
                subjects: vec![format!("t:product-{n}")],
                subjects_total: 1,
                committed_us: n,
                shared_ms: Some(n),
                local_ms: None,
                retries: 0,
            });
        }
        let positions =
            |found: Vec<Record>| found.into_iter().map(|r| r.position).collect::<Vec<_>>();
        assert_eq!(positions(journal.latest(10, None)), ["0/3", "0/2"]);
        assert_eq!(positions(journal.latest(10, Some("t:product-2"))), ["0/2"]);
        assert!(journal.latest(10, Some("t:product-1")).is_empty());
    }
}
