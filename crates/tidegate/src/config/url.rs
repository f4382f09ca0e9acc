//! Addresses of databases and HTTP servers. Secrets in them are never printed.

use std::path::Path;

use contract::config::ValueError;
use database::{DatabaseUrl, UrlError, redacted};
use edge::ServerAddress;

/// The forms of the address of the upstream, for error messages.
pub(super) const UPSTREAM_FORM: &str = "write http://host:port or https://host:port without a path, or unix:/path/of/socket, such as \
     http://127.0.0.1:3000";

/// The forms of the address of another node, for error messages.
const PEER_FORM: &str =
    "write http://host:port or https://host:port without a path, such as http://10.0.0.2:9180";

/// Parses the address of a database, whose password is in a file, if one is named.
///
/// # Errors
/// The text is another, or the database can't be connected to like that.
pub(super) fn database_url(
    text: &str,
    password_file: Option<&Path>,
) -> Result<DatabaseUrl, ValueError> {
    let url = text.parse().and_then(|url: DatabaseUrl| match password_file {
        Some(path) => url.with_password_file(path),
        None => Ok(url),
    });
    url.map_err(|UrlError { problem, remedy }| {
        ValueError::wrong_value(format!("`{}` {problem}", redacted(text)), remedy)
    })
}

/// Parses the address of the upstream.
///
/// # Errors
/// The text has another form.
pub(super) fn upstream_address(text: &str) -> Result<ServerAddress, ValueError> {
    text.parse().map_err(|problem: String| {
        ValueError::wrong_value(format!("`{}`: {problem}", redacted(text)), UPSTREAM_FORM)
    })
}

/// Parses the address of another node's admin listener, and returns its name: `host:port`, or `https://host:port`.
///
/// # Errors
/// The text has another form.
pub(super) fn peer_address(text: &str) -> Result<String, ValueError> {
    let invalid = |problem: &str| {
        ValueError::wrong_value(format!("`{}`: {problem}", redacted(text)), PEER_FORM)
    };
    let address: ServerAddress = text.parse().map_err(|problem: String| invalid(&problem))?;
    let url: http::Uri = address.to_string().parse().map_err(|_| invalid("is a socket"))?;
    let host = url.host().unwrap_or_default();
    match url.scheme_str() {
        Some("http") => Ok(format!("{host}:{}", url.port_u16().unwrap_or(80))),
        Some("https") => Ok(format!("https://{host}:{}", url.port_u16().unwrap_or(443))),
        _ => Err(invalid("is a socket")),
    }
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
                "postgres://u:secret@h/d?sslmode=no-verify",
                "has sslmode=\"no-verify\", which is unknown",
                "require",
            ),
            ("mysql://u:secret@h", "names no database", "@host:3306"),
        ] {
            let err = database_url(text, None).expect_err(text);
            assert!(err.message.contains(shown) && err.help.contains(help), "{err}");
            assert!(!err.to_string().contains("secret"), "{err}");
        }
    }

    #[test]
    fn invalid_address_names_valid_form() {
        let err = database_url("oracle://x", None).expect_err("not supported");
        assert!(err.help.contains("postgres://"), "{err}");
    }
}
