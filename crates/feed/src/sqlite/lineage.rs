//! Whether a change log continues the history that was read before. A restored backup does not: its log went
//! back, and assigns the same positions to other changes.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};

use super::log;

/// A position in the log, and the change that has it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct LogPoint {
    /// The position.
    pub(super) seq: u64,
    /// The change's time in µs; `None`: not known. Two histories have different times at one position, since
    /// one of them went on after the other.
    pub(super) at_us: Option<u64>,
}

/// The last change that this process has seen, with its log's timeline. Clones share it.
#[derive(Clone, Default)]
pub(super) struct SeenHistory(Arc<Mutex<Option<(u32, LogPoint)>>>);

impl SeenHistory {
    pub(super) fn last(&self) -> Option<(u32, LogPoint)> {
        *self.0.lock()
    }

    pub(super) fn advance(&self, timeline: u32, point: LogPoint) {
        let mut last = self.0.lock();
        let is_later = |(seen, last): (u32, LogPoint)| seen != timeline || last.seq < point.seq;
        if last.is_none_or(is_later) {
            *last = Some((timeline, point));
        }
    }
}

/// The log now.
struct Found {
    /// The time of the change at the position.
    at_us: Option<u64>,
    /// The oldest position that the log still contains.
    first: Option<u64>,
    end: u64,
}

impl LogPoint {
    /// A position whose change is not known.
    pub(super) fn at(seq: u64) -> Self {
        Self { seq, at_us: None }
    }

    /// Returns the log's end.
    pub(super) fn end(connection: &Connection) -> rusqlite::Result<Self> {
        let seq = log::end(connection)?;
        Ok(Self { seq, at_us: time_at(connection, seq)? })
    }

    /// Whether the log continues the history of this point.
    pub(super) fn is_in(self, connection: &Connection) -> rusqlite::Result<bool> {
        if self == Self::default() {
            return Ok(true);
        }
        let found = Found {
            at_us: time_at(connection, self.seq)?,
            first: log::first(connection)?,
            end: log::end(connection)?,
        };
        Ok(self.continues(&found))
    }

    fn continues(self, log: &Found) -> bool {
        log.end >= self.seq
            && match (self.at_us, log.at_us) {
                (None, _) => true,
                (Some(read), Some(found)) => read == found,
                // The triggers delete changes from the oldest on.
                (Some(_), None) => log.first.is_none_or(|first| first > self.seq),
            }
    }
}

fn time_at(connection: &Connection, seq: u64) -> rusqlite::Result<Option<u64>> {
    let sql = "select at_us from _tidegate_changes where seq = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let time: Option<i64> =
        statement.query_row([seq.cast_signed()], |row| row.get(0)).optional()?;
    Ok(time.map(i64::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_history_recognised() {
        let point = LogPoint { seq: 10, at_us: Some(7) };
        let found = |at_us, first, end| point.continues(&Found { at_us, first, end });
        assert!(found(Some(7), Some(1), 10));
        assert!(found(Some(7), Some(1), 99));
        assert!(found(None, Some(11), 99), "the change was deleted since");
        assert!(found(None, None, 10));
        assert!(!found(Some(8), Some(1), 99), "another change has its position");
        assert!(!found(None, Some(1), 9), "the log went back");
        assert!(!found(None, Some(1), 99), "the change is missing from the middle");
        let unknown = |end| LogPoint::at(10).continues(&Found { at_us: Some(8), first: None, end });
        assert!(unknown(10) && !unknown(9));
    }
}
