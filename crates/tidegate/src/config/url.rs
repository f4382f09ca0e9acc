//! Addresses of databases, shared tiers and HTTP servers. Secrets in them are never printed.

use std::fmt;
use std::str::FromStr;

use contract::config::ValueError;
use database::{DatabaseUrl, UrlError, redacted};

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

impl SharedUrl {
    /// The forms of the address of a shared tier, for error messages.
    pub(super) const FORMS: &str = "write redis://host:6379, rediss://host:6379 (TLS), \
         redis+sentinel://host:26379,host:26379/NAME, redis+cluster://host:6379,host:6379 \
         or memory: (one process)";
}

/// Parses the address of a database.
///
/// # Errors
/// The text is another, or the database can't be connected to like that.
pub(super) fn database_url(text: &str) -> Result<DatabaseUrl, ValueError> {
    text.parse().map_err(|UrlError { problem, remedy }| {
        ValueError::wrong_value(format!("`{}` {problem}", redacted(text)), remedy)
    })
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

impl fmt::Display for SharedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Redis(url) => f.write_str(&redacted(url)),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_database_names_remedy() {
        for (text, shown, help) in [
            (
                "postgres://u:secret@h:port/d",
                "`postgres://u:***@h:port/d` can't be read: ",
                "@host:5432",
            ),
            (
                "postgres://u:secret@h/d?sslmode=require",
                "`sslmode=require`, which is not",
                "tunnel",
            ),
            ("mysql://u:secret@h", "names no database", "@host:3306"),
        ] {
            let err = database_url(text).expect_err(text);
            assert!(err.message.contains(shown) && err.help.contains(help), "{err}");
            assert!(!err.to_string().contains("secret"), "{err}");
        }
    }

    #[test]
    fn invalid_address_names_valid_form() {
        let err = database_url("oracle://x").expect_err("not supported");
        assert!(err.help.contains("postgres://"), "{err}");
        let err = "memcached://x".parse::<SharedUrl>().expect_err("not supported");
        assert!(err.help.contains("redis://"), "{err}");
    }
}
