//! The schema under which the change log is known to contain every change.
//!
//! The log is complete while the triggers exist. Each change of the schema may have dropped them, and
//! created them again before anyone looked. So the schema that the feed has checked is stored beside the
//! log, and the log proves nothing under another one.

use contract::fnv1a;
use rusqlite::{Connection, OptionalExtension, params};

/// A schema, as far as it decides whether the log is complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Schema {
    /// Changes with each definition, also one that was taken back.
    version: i64,
    /// A digest of the triggers: a program that edits the schema's table leaves the version as it is.
    triggers: i64,
}

impl Schema {
    /// Returns the present schema.
    pub(super) fn current(connection: &Connection) -> rusqlite::Result<Self> {
        let text = |trigger: &Trigger| format!("{}\0{}\0", trigger.name, trigger.sql);
        let triggers: String = present_triggers(connection)?.iter().map(text).collect();
        let triggers = fnv1a(triggers.bytes()).cast_signed();
        Ok(Self { version: version(connection)?, triggers })
    }

    /// Returns the schema that the feed has checked last.
    pub(super) fn checked(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let mut statement =
            connection.prepare_cached("select value from _tidegate_meta where name = ?1")?;
        let mut value = |name: &str| statement.query_row([name], |row| row.get(0)).optional();
        let (version, triggers) = (value(VERSION)?, value(TRIGGERS)?);
        Ok(version.zip(triggers).map(|(version, triggers)| Self { version, triggers }))
    }

    /// Stores it as checked.
    pub(super) fn store(self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement =
            connection.prepare("insert or replace into _tidegate_meta values (?1, ?2)")?;
        statement.execute(params![VERSION, self.version])?;
        statement.execute(params![TRIGGERS, self.triggers])?;
        Ok(())
    }

    /// Whether the schema's version is still this one.
    pub(super) fn has_version(self, connection: &Connection) -> rusqlite::Result<bool> {
        Ok(version(connection)? == self.version)
    }
}

const VERSION: &str = "schema_version";
const TRIGGERS: &str = "schema_triggers";

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("pragma schema_version")?.query_row([], |row| row.get(0))
}

/// A trigger as in `sqlite_master`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Trigger {
    pub(super) name: String,
    pub(super) sql: String,
}

/// Returns the feed's triggers, sorted.
pub(super) fn present_triggers(connection: &Connection) -> rusqlite::Result<Vec<Trigger>> {
    let sql = "select name, sql from sqlite_master \
               where type = 'trigger' and name like '\\_tidegate\\_%' escape '\\'";
    let mut statement = connection.prepare_cached(sql)?;
    let triggers =
        statement.query_map([], |row| Ok(Trigger { name: row.get(0)?, sql: row.get(1)? }))?;
    let mut triggers = triggers.collect::<rusqlite::Result<Vec<_>>>()?;
    triggers.sort();
    Ok(triggers)
}
