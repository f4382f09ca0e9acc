//! Addresses of databases, shared tiers and HTTP servers. Secrets in them are never printed.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use contract::config::ValueError;

/// The address of a database.
#[derive(Clone, Eq, PartialEq)]
pub(crate) enum SourceUrl {
    /// `postgres://user:password@host:port/database`
    Postgres(String),
    /// `mysql://user:password@host:port/database`, or `mariadb://…`
    MariaDb(String),
    /// `sqlite:path`
    Sqlite(PathBuf),
}

/// The address of the shared tier.
#[derive(Clone, Eq, PartialEq)]
pub(crate) enum SharedUrl {
    /// `memory:`, in this process, for one node.
    Memory,
    /// `redis://user:password@host:port/database`, or the forms for TLS, Sentinel and Cluster.
    Redis(String),
}

/// The form of the address of an HTTP server, for error messages.
pub(super) const HTTP_FORM: &str =
    "write http://host:port without a path, such as http://127.0.0.1:3000";

impl SourceUrl {
    /// The forms of the address of a database, for error messages.
    pub(super) const FORMS: &str = "write postgres://user@host:5432/database, \
         mysql://user@host:3306/database or sqlite:path/to/file.db";

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

impl SharedUrl {
    /// The forms of the address of a shared tier, for error messages.
    pub(super) const FORMS: &str = "write redis://host:6379, rediss://host:6379 (TLS), \
         redis+sentinel://host:26379,host:26379/NAME, redis+cluster://host:6379,host:6379 \
         or memory: (one process)";
}

impl FromStr for SourceUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        if text.starts_with("mysql://") || text.starts_with("mariadb://") {
            return Ok(Self::MariaDb(text.to_owned()));
        }
        match text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path)) {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err(ValueError::wrong_value(
                format!("`{}` is not the address of a database", redacted(text)),
                Self::FORMS,
            )),
        }
    }
}

impl FromStr for SharedUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        match (text, scheme) {
            ("memory:", _) => Ok(Self::Memory),
            (
                _,
                Some(
                    "redis" | "rediss" | "redis+sentinel" | "rediss+sentinel" | "redis+cluster"
                    | "rediss+cluster",
                ),
            ) => Ok(Self::Redis(text.to_owned())),
            _ => Err(ValueError::wrong_value(
                format!("`{}` is not the address of a shared tier", redacted(text)),
                Self::FORMS,
            )),
        }
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) | Self::MariaDb(url) => f.write_str(&redacted(url)),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl fmt::Display for SharedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Redis(url) => f.write_str(&redacted(url)),
        }
    }
}

impl fmt::Debug for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SharedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parses `http://host:port` without a path.
///
/// # Errors
/// The text has another form.
pub(super) fn http_url(text: &str) -> Result<http::Uri, ValueError> {
    let invalid =
        |why: &str| ValueError::wrong_value(format!("`{}`: {why}", redacted(text)), HTTP_FORM);
    let url = http::Uri::from_str(text).map_err(|err| invalid(&err.to_string()))?;
    if url.scheme_str() != Some("http") || url.authority().is_none() {
        return Err(invalid("is not an address of plain HTTP"));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(invalid("has a path"));
    }
    Ok(url)
}

/// Parses `http://host:port` without a path, and returns host and port.
///
/// # Errors
/// The text has another form.
pub(super) fn http_authority(text: &str) -> Result<String, ValueError> {
    let url = http_url(text)?;
    Ok(format!("{}:{}", url.host().unwrap_or_default(), url.port_u16().unwrap_or(80)))
}

/// Returns the URL with its password, and any query that may hold one, replaced by `***`.
#[must_use]
pub(crate) fn redacted(url: &str) -> String {
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
        let url: SourceUrl = "postgres://a:b@h/c".parse().expect("a url");
        assert_eq!(format!("{url:?}"), "postgres://a:***@h/c");
    }

    #[test]
    fn invalid_address_names_valid_form() {
        let err = "oracle://x".parse::<SourceUrl>().expect_err("not supported");
        assert!(err.help.contains("postgres://"), "{err}");
        let err = "memcached://x".parse::<SharedUrl>().expect_err("not supported");
        assert!(err.help.contains("redis://"), "{err}");
        assert_eq!("sqlite:shop.db".parse(), Ok(SourceUrl::Sqlite("shop.db".into())));
    }
}
