//! Addresses of MariaDB databases.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use mysql_async::Opts;
use tls::TlsOptions;

use super::url_options::UrlOptions;
use crate::error::DatabaseError;
use crate::password_file;
use crate::url_error::{UrlError, check_login, redacted};

const FORM: &str = "write mysql://user:password@host:3306/database";

/// `mysql://user:password@host:port/database`, or `mariadb://…`
#[derive(Clone, Eq, PartialEq)]
pub struct MariaDbUrl {
    text: Arc<str>,
    /// The options of the URL.
    pub(super) opts: Opts,
    pub(super) tls: Option<Arc<TlsOptions>>,
    password_file: Option<Arc<Path>>,
}

impl MariaDbUrl {
    pub(crate) const SCHEMES: [&str; 2] = ["mysql://", "mariadb://"];

    /// Returns the database's name; never empty.
    #[must_use]
    pub fn database(&self) -> &str {
        self.opts.db_name().unwrap_or_default()
    }

    /// Returns the URL with the password in a file, which is read for each connection.
    ///
    /// # Errors
    /// The URL has a password, too.
    pub fn with_password_file(self, path: &Path) -> Result<Self, UrlError> {
        if self.opts.pass().is_some_and(|password| !password.is_empty()) {
            return Err(UrlError::two_passwords());
        }
        Ok(Self { password_file: Some(path.into()), ..self })
    }

    /// Returns the password as it is now; `None`: there is none.
    pub(super) async fn read_password(&self) -> Result<Option<String>, DatabaseError> {
        let Some(path) = &self.password_file else {
            return Ok(self.opts.pass().map(str::to_owned));
        };
        let password = password_file::read(&self.name(), path).await?;
        Ok(Some(String::from_utf8_lossy(&password).into_owned()))
    }

    /// Whether the password may change while the program runs.
    pub(super) fn has_password_file(&self) -> bool {
        self.password_file.is_some()
    }

    /// Returns `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.opts.ip_or_hostname(), self.opts.tcp_port())
    }

    /// Returns a display name without secrets.
    #[must_use]
    pub fn name(&self) -> String {
        format!("MariaDB database `{}` at {}", self.database(), self.address())
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
        // The driver takes the last `@` as the end.
        check_login(&url, &['/', '?', '#'])?;
        let UrlOptions { rest, tls } = UrlOptions::parse(&url)?;
        // The parser's error may contain an unknown option, but never the password.
        let opts = Opts::from_url(&rest).map_err(|err| reject(format!("can't be read: {err}")))?;
        if opts.db_name().is_none_or(str::is_empty) {
            return Err(reject("names no database".to_owned()));
        }
        if opts.ssl_opts().is_some() {
            return Err(UrlError {
                problem: "has require_ssl, which is the driver's own".to_owned(),
                remedy: "write ssl-mode=REQUIRED or ssl-mode=VERIFY_IDENTITY".to_owned(),
            });
        }
        Ok(Self { text: text.into(), opts, tls: tls.map(Arc::new), password_file: None })
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
            ("mysql://u:secret@h/d?require_ssl=true", "ssl-mode=REQUIRED"),
            ("mysql://u:secret@h/d?nonsense=1", "nonsense"),
            ("postgres://u:secret@h/d", "scheme"),
        ] {
            let err = text.parse::<MariaDbUrl>().expect_err(text);
            assert!(err.to_string().contains(says), "{text}: {err}");
            assert!(!format!("{err} {err:?}").contains("secret"), "{err}");
        }
        let url: MariaDbUrl = "mariadb://shop:secret@db/shop".parse().expect("a url");
        assert_eq!(url.name(), "MariaDB database `shop` at db:3306");
        assert_eq!(url.to_string(), "mariadb://shop:***@db/shop");
    }
}
