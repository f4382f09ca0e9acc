//! Migrations.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use database::DatabaseError;
use database::sqlite::{FileConnection, OpenMode};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::transaction::failed;
use crate::ledger::LedgerError;
use crate::schema::{self, Migration, Pending, SchemaError};

const ALL: &[Migration] = &[
    Migration { version: 1, name: "inventory", sql: include_str!("migrations/0001_inventory.sql") },
    Migration { version: 3, name: "checkout", sql: include_str!("migrations/0003_checkout.sql") },
    Migration { version: 4, name: "jobs", sql: include_str!("migrations/0004_jobs.sql") },
    Migration {
        version: 7,
        name: "carts and gift cards",
        sql: include_str!("migrations/0007_carts_and_gift_cards.sql"),
    },
];

/// The time limit of the wait for another migration.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns the migrations that the file lacks. A file that does not exist lacks all.
///
/// # Errors
/// The file can't be read, or has a newer schema.
pub fn pending(path: &Path) -> Result<Pending, SchemaError> {
    if !path.exists() {
        return schema::pending(ALL, 0);
    }
    let connection = FileConnection::open(path, OpenMode::ReadOnly, LIMIT);
    let connection = connection.map_err(LedgerError::from)?;
    schema::pending(ALL, version(&connection)?)
}

/// Applies the migrations that the file lacks, all or none, and returns them. Creates the file if need be.
///
/// # Errors
/// The file can't be written, or has a newer schema. Nothing has changed.
pub fn migrate(path: &Path) -> Result<Pending, SchemaError> {
    let create = OpenOptions::new().create(true).append(true).open(path);
    let failed_to_create = |err: std::io::Error| {
        let problem = format!("the file {}: {err}", path.display());
        LedgerError::from(DatabaseError::unreachable("creating the database", problem))
    };
    drop(create.map_err(failed_to_create)?);
    let connection = FileConnection::open(path, OpenMode::ReadWrite, LIMIT);
    let connection = connection.map_err(LedgerError::from)?;
    // A reader does not wait for the writer.
    let wal = connection.query_row("pragma journal_mode = wal", [], |_| Ok(()));
    wal.map_err(failed)?;
    let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate);
    let transaction = transaction.map_err(failed)?;
    let pending = schema::pending(ALL, version(&transaction)?)?;
    let table = "create table if not exists tidegate_migration(version integer primary key, \
        name text not null, applied_at text not null default current_timestamp) strict";
    transaction.execute_batch(table).map_err(failed)?;
    for Migration { version, name, sql } in &pending.migrations {
        transaction.execute_batch(sql).map_err(failed)?;
        let record = "insert into tidegate_migration(version, name) values (?1, ?2)";
        transaction.execute(record, (version, name)).map_err(failed)?;
    }
    transaction.commit().map_err(failed)?;
    Ok(pending)
}

/// Checks that the schema can be served.
///
/// # Errors
/// The file can't be read, or the schema is missing or of another version.
pub(super) fn check(connection: &Connection) -> Result<(), SchemaError> {
    schema::check(ALL, version(connection)?)
}

/// Returns the version of the schema; 0: there is none.
pub(super) fn version(connection: &Connection) -> Result<u32, LedgerError> {
    let has_table =
        "select count(*) from sqlite_master where type = 'table' and name = 'tidegate_migration'";
    let tables: u32 = connection.query_row(has_table, [], |row| row.get(0)).map_err(failed)?;
    if tables == 0 {
        return Ok(0);
    }
    let newest = "select coalesce(max(version), 0) from tidegate_migration";
    connection.query_row(newest, [], |row| row.get(0)).map_err(failed)
}
