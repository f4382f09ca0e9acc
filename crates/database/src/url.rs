//! Addresses of databases.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::mariadb::MariaDbUrl;
use crate::postgres::PostgresUrl;
use crate::url_error::UrlError;

/// The address of a database.
#[derive(Clone, Eq, PartialEq)]
pub enum DatabaseUrl {
    /// `postgres://user:password@host:port/database`
    Postgres(PostgresUrl),
    /// `mysql://user:password@host:port/database`, or `mariadb://…`
    MariaDb(MariaDbUrl),
    /// `sqlite:path`
    Sqlite(PathBuf),
}

impl DatabaseUrl {
    /// The forms of an address, for error messages.
    pub const FORMS: &str = "write postgres://user@host:5432/database, \
         mysql://user@host:3306/database or sqlite:path/to/file.db";

    /// Returns the address with the password in a file, which is read for each connection.
    ///
    /// # Errors
    /// The address has a password, too, or none can be used with it.
    pub fn with_password_file(self, path: &Path) -> Result<Self, UrlError> {
        match self {
            Self::Postgres(url) => url.with_password_file(path).map(Self::Postgres),
            Self::MariaDb(url) => url.with_password_file(path).map(Self::MariaDb),
            Self::Sqlite(_) => Err(UrlError {
                problem: "is a file, which has no password".to_owned(),
                remedy: "remove password_file".to_owned(),
            }),
        }
    }

    /// Whether this is the address of a PostgreSQL.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

impl FromStr for DatabaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if PostgresUrl::SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            return text.parse().map(Self::Postgres);
        }
        if MariaDbUrl::SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            return text.parse().map(Self::MariaDb);
        }
        match text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path)) {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err(UrlError {
                problem: "is not the address of a database".to_owned(),
                remedy: Self::FORMS.to_owned(),
            }),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) => fmt::Display::fmt(url, f),
            Self::MariaDb(url) => fmt::Display::fmt(url, f),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_prints_no_password() {
        for text in ["postgres://a:secret@h/c", "mysql://a:secret@h/c"] {
            let url: DatabaseUrl = text.parse().expect(text);
            assert_eq!(format!("{url:?}"), text.replace("secret", "***"));
            assert_eq!(url.to_string(), text.replace("secret", "***"));
        }
    }

    #[test]
    fn scheme_selects_engine() {
        let parse = |text: &str| text.parse::<DatabaseUrl>();
        for text in ["postgres://h/d", "postgresql://h/d"] {
            assert!(parse(text).is_ok_and(|url| url.is_postgres()), "{text}");
        }
        for text in ["mysql://h/d", "mariadb://h/d"] {
            assert!(matches!(parse(text), Ok(DatabaseUrl::MariaDb(_))), "{text}");
        }
        for text in ["sqlite:shop.db", "sqlite://shop.db"] {
            assert_eq!(parse(text), Ok(DatabaseUrl::Sqlite("shop.db".into())));
        }
        for text in ["oracle://x", "sqlite:", "shop.db", ""] {
            assert_eq!(parse(text).expect_err(text).remedy, DatabaseUrl::FORMS, "{text}");
        }
    }
}
