//! Addresses of MariaDB databases.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use mysql_async::Opts;

use crate::url_error::{UrlError, redacted, refused_tls};

const FORM: &str = "write mysql://user:password@host:3306/database";

/// `mysql://user:password@host:port/database`, or `mariadb://…`
#[derive(Clone, Eq, PartialEq)]
pub struct MariaDbUrl {
    text: Arc<str>,
    /// The options of the URL.
    pub(super) opts: Opts,
}

impl MariaDbUrl {
    pub(crate) const SCHEMES: [&str; 2] = ["mysql://", "mariadb://"];

    /// Returns the database's name; never empty.
    #[must_use]
    pub fn database(&self) -> &str {
        self.opts.db_name().unwrap_or_default()
    }

    /// Returns a display name without secrets.
    #[must_use]
    pub fn name(&self) -> String {
        let (host, port) = (self.opts.ip_or_hostname(), self.opts.tcp_port());
        format!("MariaDB database `{}` at {host}:{port}", self.database())
    }
}

impl FromStr for MariaDbUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let reject = |problem: String| UrlError { problem, remedy: FORM.to_owned() };
        let url = match text.strip_prefix("mariadb://") {
            Some(rest) => format!("mysql://{rest}"),
            None => text.to_owned(),
        };
        // The parser's error may contain an unknown option, but never the password.
        let opts = Opts::from_url(&url).map_err(|err| reject(format!("can't be read: {err}")))?;
        if opts.db_name().is_none_or(str::is_empty) {
            return Err(reject("names no database".to_owned()));
        }
        if opts.ssl_opts().is_some() {
            return Err(refused_tls("TLS"));
        }
        Ok(Self { text: text.into(), opts })
    }
}

impl fmt::Display for MariaDbUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.text))
    }
}

impl fmt::Debug for MariaDbUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_error_hides_password() {
        for (text, says) in [
            ("mysql://u:secret@h:port/d", "port"),
            ("mysql://u:secret@h", "no database"),
            ("mysql://u:secret@h/d?require_ssl=true", "TLS, which is not"),
            ("mysql://u:secret@h/d?nonsense=1", "nonsense"),
            ("postgres://u:secret@h/d", "scheme"),
        ] {
            let err = text.parse::<MariaDbUrl>().expect_err(text);
            assert!(err.problem.contains(says), "{text}: {err}");
            assert!(!format!("{err} {err:?}").contains("secret"), "{err}");
        }
        let url: MariaDbUrl = "mariadb://shop:secret@db/shop".parse().expect("a url");
        assert_eq!(url.name(), "MariaDB database `shop` at db:3306");
        assert_eq!(url.to_string(), "mariadb://shop:***@db/shop");
    }
}
