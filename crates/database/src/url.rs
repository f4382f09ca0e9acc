//! Addresses of databases. Secrets in them are never printed.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use crate::mariadb::MariaDbUrl;
use crate::postgres::PostgresUrl;

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

/// An address that can't be used. The text contains no secrets.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("the address {problem}; {remedy}")]
pub struct UrlError {
    /// The problem, as a predicate: `names no host`.
    pub problem: String,
    /// The remedy, without a full stop.
    pub remedy: String,
}

/// Refuses an address that requires TLS.
pub(crate) fn refused_tls(option: &str) -> UrlError {
    UrlError {
        problem: format!("requires {option}, which is not supported"),
        remedy: "connect over a trusted network, or through a tunnel".to_owned(),
    }
}

impl DatabaseUrl {
    /// The forms of an address, for error messages.
    pub const FORMS: &str = "write postgres://user@host:5432/database, \
         mysql://user@host:3306/database or sqlite:path/to/file.db";

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

/// Returns a URL of any kind with its password, and any query that may hold one, replaced by `***`.
#[must_use]
pub fn redacted(url: &str) -> String {
    let (url, query) = match url.split_once('?') {
        Some((url, _)) => (url, "?***"),
        None => (url, ""),
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        // A mistyped address: all before the host may be a password.
        let host = url.rsplit_once('@').map(|(_, host)| format!("***@{host}"));
        return format!("{}{query}", host.unwrap_or_else(|| url.to_owned()));
    };
    // The last `@`: a password may hold an unescaped `/` or `@`.
    match rest.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split(':').next().unwrap_or_default();
            let secret = if login.contains(':') { ":***" } else { "" };
            format!("{scheme}://{user}{secret}@{host}{query}")
        }
        None => format!("{scheme}://{rest}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_never_printed() {
        for (url, shown) in [
            ("postgres://shop@127.0.0.1:5432/shop", "postgres://shop@127.0.0.1:5432/shop"),
            ("postgres://shop:hu/nter2@h/shop", "postgres://shop:***@h/shop"),
            ("postgres://shop:hunter2@h/shop?password=x", "postgres://shop:***@h/shop?***"),
            ("redis://:s3cr:et@h:1/0", "redis://:***@h:1/0"),
            ("redis+cluster://u:p@a:1,b:2", "redis+cluster://u:***@a:1,b:2"),
            ("postgres:/shop:hunter2@h/shop", "***@h/shop"),
            ("rediss+sentinel://u:p@a:1,b:2/shop", "rediss+sentinel://u:***@a:1,b:2/shop"),
        ] {
            assert_eq!(redacted(url), shown);
        }
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
