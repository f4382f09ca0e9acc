//! Versions of the ledger's schema.

use std::fmt;

use database::DatabaseError;
use thiserror::Error;

use crate::ledger::LedgerError;

/// A step from one version of the schema to the next. Steps are only added.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The version after it, from 1.
    pub version: u32,
    /// A few words.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

/// The migrations that a database lacks.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The version of the database; 0: it has no schema.
    pub present: u32,
    /// The migrations, in order.
    pub migrations: Vec<Migration>,
}

/// Why a schema can't be used or migrated.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// The database does not answer, or refuses a statement.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is no schema.
    #[error("the schema `tidegate` of the sale is missing; create it with `tidegate sale migrate`")]
    Missing,
    /// The schema is of an older version.
    #[error(
        "the schema of the sale has version {present}, and this program needs {needed}; bring it up to date with \
         `tidegate sale migrate`, which may run while nodes serve"
    )]
    Older {
        /// The version of the database.
        present: u32,
        /// The version of this program.
        needed: u32,
    },
    /// The schema is of a newer version.
    #[error(
        "the schema of the sale has version {present}, and this program knows {needed}; migrations go forward only: \
         install the version of Tidegate that made it, or a newer one"
    )]
    Newer {
        /// The version of the database.
        present: u32,
        /// The version of this program.
        needed: u32,
    },
}

impl From<DatabaseError> for SchemaError {
    fn from(err: DatabaseError) -> Self {
        Self::Ledger(err.into())
    }
}

/// Returns the newest version of a list of migrations.
pub(crate) fn newest(all: &[Migration]) -> u32 {
    all.last().map_or(0, |migration| migration.version)
}

/// Returns the migrations that a database of version `present` lacks.
///
/// # Errors
/// [`SchemaError::Newer`].
pub(crate) fn pending(all: &'static [Migration], present: u32) -> Result<Pending, SchemaError> {
    let needed = newest(all);
    if present > needed {
        return Err(SchemaError::Newer { present, needed });
    }
    let migrations = all.iter().filter(|migration| migration.version > present).copied().collect();
    Ok(Pending { present, migrations })
}

/// Checks that a database of version `present` can be served.
///
/// # Errors
/// It needs a migration, or another version of this program.
pub(crate) fn check(all: &'static [Migration], present: u32) -> Result<(), SchemaError> {
    let pending = pending(all, present)?;
    match (pending.migrations.is_empty(), present) {
        (true, _) => Ok(()),
        (false, 0) => Err(SchemaError::Missing),
        (false, present) => Err(SchemaError::Older { present, needed: newest(all) }),
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04} {}", self.version, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Migration] = &[
        Migration { version: 1, name: "one", sql: "" },
        Migration { version: 2, name: "two", sql: "" },
    ];

    #[test]
    fn only_newest_version_is_served() {
        assert!(matches!(check(ALL, 0), Err(SchemaError::Missing)));
        assert!(matches!(check(ALL, 1), Err(SchemaError::Older { present: 1, needed: 2 })));
        assert!(check(ALL, 2).is_ok());
        assert!(matches!(check(ALL, 3), Err(SchemaError::Newer { present: 3, needed: 2 })));
    }

    #[test]
    fn later_migrations_are_pending() {
        let versions = |present| {
            let pending = pending(ALL, present).expect("known");
            pending.migrations.iter().map(|migration| migration.version).collect::<Vec<_>>()
        };
        assert_eq!((versions(0), versions(1), versions(2)), (vec![1, 2], vec![2], vec![]));
    }
}
