//! Transactions.

use database::sqlite::driver_error;
use rusqlite::{Connection, OptionalExtension, Params, Row, Transaction, TransactionBehavior};

use crate::ledger::LedgerError;
use crate::request::RequestKey;
use crate::rules::{KeyVerdict, judge_key};

const OPERATION: &str = "using the ledger";

/// A transaction, and the time of the database's clock at its begin: for one that writes, when it got the write
/// lock.
pub(super) struct Session<'c> {
    transaction: Transaction<'c>,
    pub(super) now_ms: i64,
}

/// A request that had its effect.
pub(super) struct StoredRequest {
    pub(super) hold: Option<String>,
    pub(super) at_ms: i64,
    pub(super) result: Option<i64>,
    pub(super) counters: Option<[i64; 3]>,
}

/// The text of the database's clock, in ms since 1970.
pub(super) const NOW: &str = "cast(unixepoch('now', 'subsec') * 1000 as integer)";

/// Converts an error of the driver.
pub(super) fn failed(err: rusqlite::Error) -> LedgerError {
    driver_error(OPERATION)(err).into()
}

impl<'c> Session<'c> {
    /// Waits for the write lock.
    pub(super) fn begin(connection: &'c Connection) -> Result<Self, LedgerError> {
        Self::new(connection, TransactionBehavior::Immediate)
    }

    /// Begins a transaction for reading: a snapshot, without the write lock.
    pub(super) fn snapshot(connection: &'c Connection) -> Result<Self, LedgerError> {
        Self::new(connection, TransactionBehavior::Deferred)
    }

    fn new(connection: &'c Connection, behavior: TransactionBehavior) -> Result<Self, LedgerError> {
        let transaction = Transaction::new_unchecked(connection, behavior).map_err(failed)?;
        let now_ms = transaction.query_row(&format!("select {NOW}"), [], |row| row.get(0));
        let now_ms = now_ms.map_err(failed)?;
        Ok(Self { transaction, now_ms })
    }

    pub(super) fn commit(self) -> Result<(), LedgerError> {
        self.transaction.commit().map_err(failed)
    }

    /// Runs a statement.
    pub(super) fn run(&self, sql: &str, parameters: impl Params) -> Result<usize, LedgerError> {
        let statement = self.transaction.prepare_cached(sql);
        statement.and_then(|mut statement| statement.execute(parameters)).map_err(failed)
    }

    /// Returns the row of a query that has at most one.
    pub(super) fn find<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, LedgerError> {
        let statement = self.transaction.prepare_cached(sql);
        let found =
            statement.and_then(|mut statement| statement.query_row(parameters, read).optional());
        found.map_err(failed)
    }

    /// Returns the rows of a query.
    pub(super) fn list<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LedgerError> {
        let mut statement = self.transaction.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map(parameters, read).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    /// Judges a key, and returns the request that was executed under it.
    pub(super) fn judge(
        &self,
        key: &RequestKey,
    ) -> Result<(KeyVerdict, Option<StoredRequest>), LedgerError> {
        let sql = "select digest, hold, at, result, on_hand, held, sold from tidegate_request where key = ?1";
        let stored = self.find(sql, [key.key.as_str()], |row| {
            let counters: [Option<i64>; 3] = [row.get(4)?, row.get(5)?, row.get(6)?];
            let stored = StoredRequest {
                hold: row.get(1)?,
                at_ms: row.get(2)?,
                result: row.get(3)?,
                counters: match counters {
                    [Some(on_hand), Some(held), Some(sold)] => Some([on_hand, held, sold]),
                    _ => None,
                },
            };
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), stored))
        })?;
        let verdict = judge_key(stored.as_ref().map(|(digest, _)| *digest), key.digest);
        Ok((verdict, stored.map(|(_, stored)| stored)))
    }

    /// Stores that the request had its effect.
    pub(super) fn store(
        &self,
        key: &RequestKey,
        hold: Option<&str>,
        result: Option<i64>,
        counters: Option<[i64; 3]>,
    ) -> Result<(), LedgerError> {
        let counter = |at: usize| counters.map(|counters| counters[at]);
        let sql = "insert into tidegate_request(key, digest, at, hold, result, on_hand, held, sold) \
            values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let digest = key.digest.cast_signed();
        let key = key.key.as_str();
        let counters = [counter(0), counter(1), counter(2)];
        let [on_hand, held, sold] = counters;
        self.run(sql, (key, digest, self.now_ms, hold, result, on_hand, held, sold))?;
        Ok(())
    }
}
