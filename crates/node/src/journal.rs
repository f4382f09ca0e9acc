//! The last invalidations, and how far each has been applied.

use std::collections::VecDeque;

use coherence::{Cause, Lsn, Subject};
use parking_lot::Mutex;

/// The number of subjects that are kept of one commit.
pub const SUBJECTS_KEPT: usize = 20;

/// One invalidation.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its position in the log.
    pub position: Lsn,
    /// Its cause.
    pub cause: Cause,
    /// Its first [`SUBJECTS_KEPT`] subjects.
    pub subjects: Vec<Subject>,
    /// The number of all its subjects.
    pub subjects_total: usize,
    /// The commit time by the database's clock, µs since 1970.
    pub committed_us: u64,
    /// The time at which the shared tier applied it, ms since 1970; `None` while it has not.
    pub shared_ms: Option<u64>,
    /// The time at which this node's in-process tier applied it, ms since 1970; `None` while it has not.
    pub local_ms: Option<u64>,
    /// The number of failed attempts to apply it.
    pub retries: u32,
}

/// A bounded list of [`Record`]s.
#[derive(Debug)]
pub struct Journal {
    capacity: usize,
    /// The newest last.
    records: Mutex<VecDeque<Record>>,
}

impl Journal {
    /// Creates a journal of the last `capacity` invalidations, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), records: Mutex::default() }
    }

    /// Adds a record and drops the oldest beyond the capacity.
    pub fn push(&self, mut record: Record) {
        record.subjects.truncate(SUBJECTS_KEPT);
        let mut records = self.records.lock();
        if records.len() == self.capacity {
            records.pop_front();
        }
        records.push_back(record);
    }

    /// Returns the newest records first, at most `limit`; with `subject` only those that name it.
    #[must_use]
    pub fn latest(&self, limit: usize, subject: Option<&Subject>) -> Vec<Record> {
        let records = self.records.lock();
        let names =
            |record: &&Record| subject.is_none_or(|subject| record.subjects.contains(subject));
        records.iter().rev().filter(names).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(n: u64) -> Subject {
        format!("t:product-{n}").parse().expect("a tag")
    }

    #[test]
    fn newest_records_kept_and_found_by_subject() {
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
    }
}
