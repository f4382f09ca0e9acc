//! The tables with commits, for the findings of the auditor of pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use feed::Commit;
use parking_lot::Mutex;

/// The time of the last commit of each table, while this node reads the log. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct ChangedTables(Arc<Mutex<Option<Reading>>>);

#[derive(Debug)]
struct Reading {
    /// Wall time, µs since 1970.
    since_us: u64,
    /// The arrival of the last commit of each table, which is later than the commit.
    last_us: BTreeMap<Arc<str>, u64>,
}

impl ChangedTables {
    /// The log is read from now on, if it was not before.
    pub(super) fn start(&self, now_us: u64) {
        let new = || Reading { since_us: now_us, last_us: BTreeMap::new() };
        self.0.lock().get_or_insert_with(new);
    }

    /// The log is no longer read, so changes are missed.
    pub(super) fn stop(&self) {
        *self.0.lock() = None;
    }

    pub(super) fn record(&self, commits: &[Commit], now_us: u64) {
        let mut reading = self.0.lock();
        let Some(Reading { last_us, .. }) = reading.as_mut() else { return };
        let mut last: Option<&Arc<str>> = None;
        for table in commits.iter().flat_map(|commit| &commit.changes).map(|change| &change.table) {
            // Most commits in a row change one table.
            if last.is_none_or(|last| !Arc::ptr_eq(last, table)) {
                last_us.insert(Arc::clone(table), now_us);
                last = Some(table);
            }
        }
    }

    /// Returns the tables with a commit since `us` (wall time, µs since 1970), sorted; `None`: this node has
    /// not read the whole log since then.
    #[must_use]
    pub fn since(&self, us: u64) -> Option<Vec<String>> {
        let reading = self.0.lock();
        let Reading { last_us, .. } = reading.as_ref().filter(|reading| reading.since_us <= us)?;
        let changed = last_us.iter().filter(|(_, last)| **last >= us);
        Some(changed.map(|(table, _)| table.to_string()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_unknown_while_log_is_not_read() {
        let tables = ChangedTables::default();
        assert_eq!(tables.since(5), None);
        tables.start(10);
        assert_eq!(tables.since(5), None, "changes before the start are unknown");
        assert_eq!(tables.since(10), Some(Vec::new()));
        tables.start(20);
        assert_eq!(tables.since(10), Some(Vec::new()), "it has been read all the time");
        tables.stop();
        assert_eq!(tables.since(30), None);
    }
}
