//! Migrations.

use std::time::Duration;

use database::postgres::{Connection, PostgresUrl};

use super::client::{Client, config, unreadable};
use crate::ledger::LedgerError;
use crate::schema::{self, Migration, Pending, SchemaError};

const ALL: &[Migration] = &[
    Migration { version: 1, name: "inventory", sql: include_str!("migrations/0001_inventory.sql") },
    Migration {
        version: 2,
        name: "inline lines",
        sql: include_str!("migrations/0002_inline_lines.sql"),
    },
    Migration { version: 3, name: "checkout", sql: include_str!("migrations/0003_checkout.sql") },
    Migration { version: 4, name: "jobs", sql: include_str!("migrations/0004_jobs.sql") },
    Migration {
        version: 5,
        name: "index of lines",
        sql: include_str!("migrations/0005_index_of_lines.sql"),
    },
    Migration {
        version: 6,
        name: "orders in batches",
        sql: include_str!("migrations/0006_orders_in_batches.sql"),
    },
    Migration {
        version: 7,
        name: "carts and gift cards",
        sql: include_str!("migrations/0007_carts_and_gift_cards.sql"),
    },
];

/// The time limit of connecting, and of a question.
const LIMIT: Duration = Duration::from_secs(10);

/// Two migrations at once wait for each other at this lock. A statement that waits for a table in use gives up
/// after a while, and all is rolled back: statements behind it in the queue of the table's lock are those of
/// customers.
const BEGIN: &str = "begin; select pg_advisory_xact_lock(7409, 1); set local lock_timeout = '5s'; \
    create schema if not exists tidegate; \
    create table if not exists tidegate.migration( \
      version int primary key, name text not null, applied_at timestamptz not null default now())";

const HAS_TABLE: &str = "select to_regclass('tidegate.migration') is not null";
const VERSION: &str = "select coalesce(max(version), 0) from tidegate.migration";

/// Returns the migrations that the database lacks.
///
/// # Errors
/// The database does not answer, or has a newer schema.
pub async fn pending(url: &PostgresUrl) -> Result<Pending, SchemaError> {
    schema::pending(ALL, version(&Client::for_reports(url, LIMIT)).await?)
}

/// Applies the migrations that the database lacks, all or none, and returns them.
///
/// # Errors
/// The database does not answer, refuses a statement, or has a newer schema. Nothing has changed.
pub async fn migrate(url: &PostgresUrl) -> Result<Pending, SchemaError> {
    let connection = config(url, Duration::ZERO).connect(LIMIT).await.map_err(LedgerError::from)?;
    run(&connection, BEGIN).await?;
    let row =
        connection.row("reading the version", VERSION, &[]).await.map_err(LedgerError::from)?;
    let present = row.try_get::<_, i32>(0).map_err(unreadable)?;
    let pending = schema::pending(ALL, present.cast_unsigned())?;
    for Migration { version, name, sql } in &pending.migrations {
        run(&connection, sql).await?;
        let record =
            format!("insert into tidegate.migration(version, name) values ({version}, '{name}')");
        run(&connection, &record).await?;
    }
    run(&connection, "commit").await?;
    Ok(pending)
}

async fn run(connection: &Connection, sql: &str) -> Result<(), LedgerError> {
    Ok(connection.run(sql).await?)
}

/// Checks that the schema can be served.
///
/// # Errors
/// The database does not answer, or the schema is missing or of another version.
pub(super) async fn check(client: &Client) -> Result<(), SchemaError> {
    schema::check(ALL, version(client).await?)
}

/// Returns the version of the schema; 0: there is none.
pub(super) async fn version(client: &Client) -> Result<u32, LedgerError> {
    let row = client.row("finding the schema", HAS_TABLE, &[]).await?;
    if !row.try_get::<_, bool>(0).map_err(unreadable)? {
        return Ok(0);
    }
    let row = client.row("reading the version", VERSION, &[]).await?;
    row.try_get::<_, i32>(0).map(i32::cast_unsigned).map_err(unreadable)
}
