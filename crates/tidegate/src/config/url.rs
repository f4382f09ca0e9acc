//! Addresses of databases and HTTP servers. Secrets in them are never printed.

use std::path::Path;
use std::str::FromStr;

use contract::config::ValueError;
use database::{DatabaseUrl, UrlError, redacted};

/// The form of the address of an HTTP server, for error messages.
pub(super) const HTTP_FORM: &str =
    "write http://host:port without a path, such as http://127.0.0.1:3000";

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
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(invalid("has a user, who is not sent to the server"));
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
