//! Addresses of PostgreSQL databases.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, Host};

use super::encryption::{Encryption, SslMode};
use super::url_options::UrlOptions;
use crate::error::DatabaseError;
use crate::password_file;
use crate::url_error::{UrlError, check_login, redacted};

const FORM: &str = "write postgres://user:password@host:5432/database";

/// `postgres://user:password@host:port/database`. It may name several hosts, separated by commas.
#[derive(Clone, Eq, PartialEq)]
pub struct PostgresUrl {
    text: Arc<str>,
    /// The options of the URL.
    pub(super) config: Arc<Config>,
    pub(super) encryption: Arc<Encryption>,
    hosts: Arc<[Address]>,
    password_file: Option<Arc<Path>>,
}

/// The address of one host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// A name, an IP address, or a folder of Unix sockets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Whether the host is a folder of Unix sockets.
    pub(super) fn is_folder(&self) -> bool {
        self.host.starts_with('/')
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl PostgresUrl {
    pub(crate) const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

    /// Returns the hosts, in the order of the URL; at least one.
    #[must_use]
    pub fn hosts(&self) -> &[Address] {
        &self.hosts
    }

    /// Returns the user's name; `postgres` if the URL has none.
    #[must_use]
    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or("postgres")
    }

    /// Returns the URL with the password in a file, which is read for each connection.
    ///
    /// # Errors
    /// The URL has a password, too.
    pub fn with_password_file(self, path: &Path) -> Result<Self, UrlError> {
        if self.config.get_password().is_some_and(|password| !password.is_empty()) {
            return Err(UrlError::two_passwords());
        }
        Ok(Self { password_file: Some(path.into()), ..self })
    }

    /// Returns the password as it is now; `None`: there is none.
    pub(super) async fn read_password(&self) -> Result<Option<Vec<u8>>, DatabaseError> {
        match &self.password_file {
            Some(path) => password_file::read(&self.name(), path).await.map(Some),
            None => {
                let password = self.config.get_password().filter(|password| !password.is_empty());
                Ok(password.map(<[u8]>::to_vec))
            }
        }
    }

    /// Returns the startup options of the URL; empty if it has none.
    #[must_use]
    pub fn options(&self) -> &str {
        self.config.get_options().unwrap_or_default()
    }

    /// Returns the database's name, which is the user's name if the URL has none.
    #[must_use]
    pub fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or(self.user())
    }

    /// Returns a display name without secrets.
    #[must_use]
    pub fn name(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(Address::to_string).collect();
        format!("PostgreSQL database `{}` at {}", self.database(), hosts.join(","))
    }
}

impl FromStr for PostgresUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let reject = |problem: String| UrlError { problem, remedy: FORM.to_owned() };
        // The driver also accepts `key=value` pairs, which `redacted` does not know.
        if !Self::SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            return Err(reject("is not the address of a PostgreSQL database".to_owned()));
        }
        // The driver takes a `/` or `#` as part of the password.
        check_login(text, &['@', '?'])?;
        let UrlOptions { rest, encryption } = UrlOptions::parse(text)?;
        let config: Config =
            rest.parse().map_err(|err| reject(format!("can't be read: {}", parse_error(&err))))?;
        if config.get_channel_binding() == ChannelBinding::Require
            && encryption.mode == SslMode::Disable
        {
            return Err(UrlError {
                problem: "has channel_binding=require with sslmode=disable".to_owned(),
                remedy: "write sslmode=require: the binding is to the TLS connection".to_owned(),
            });
        }
        let ports = config.get_ports();
        let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        let hosts: Arc<[Address]> = config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(at, host)| {
                let host = match host {
                    Host::Tcp(name) => name.clone(),
                    #[cfg(unix)]
                    Host::Unix(folder) => folder.display().to_string(),
                };
                Address { host, port: port(at) }
            })
            .collect();
        if hosts.is_empty() {
            return Err(reject("names no host".to_owned()));
        }
        let (config, encryption) = (Arc::new(config), Arc::new(encryption));
        Ok(Self { text: text.into(), config, encryption, hosts, password_file: None })
    }
}

/// The driver keeps the details in the source. Neither text contains the password.
fn parse_error(err: &tokio_postgres::Error) -> String {
    match std::error::Error::source(err) {
        Some(source) => format!("{err}: {source}"),
        None => err.to_string(),
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.text))
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_with_several_hosts() {
        let url: PostgresUrl = "postgres://shop:secret@a,b:6000/orders".parse().expect("a url");
        assert_eq!(url.name(), "PostgreSQL database `orders` at a:5432,b:6000");
        assert_eq!((url.user(), url.database()), ("shop", "orders"));
        let url: PostgresUrl = "postgres://h".parse().expect("a url");
        assert_eq!((url.user(), url.database()), ("postgres", "postgres"));
    }

    #[test]
    fn session_attrs_of_a_primary_accepted() {
        for attrs in ["any", "read-write", "primary"] {
            for url in [
                format!("postgres://u@a,b/d?target_session_attrs={attrs}"),
                format!("postgres://u@a,b/d?connect_timeout=3&target_session_attrs={attrs}"),
            ] {
                let url: PostgresUrl = url.parse().expect("a url");
                assert_eq!(url.name(), "PostgreSQL database `d` at a:5432,b:5432");
            }
        }
        for attrs in ["standby", "read-only", "prefer-standby", "x"] {
            let url = format!("postgres://u@a/d?target_session_attrs={attrs}");
            let err = url.parse::<PostgresUrl>().expect_err(attrs);
            assert!(err.problem.contains(attrs) && err.remedy.contains("replicas"), "{err}");
        }
    }

    #[test]
    fn url_error_hides_password() {
        for (text, says) in [
            ("postgres://u:secret@h:port/d", "port"),
            ("mysql://u:secret@h/d", "PostgreSQL"),
            ("host=h user=u password=secret", "PostgreSQL"),
            ("postgres://u:secret@/d", "no host"),
            ("postgres://u:secret@h/d?sslmode=no", "sslmode=\"no\""),
            ("postgres://u:secret@h/d?channel_binding=require&sslmode=disable", "channel_binding"),
            ("postgres://u:secret@h/d?nonsense=1", "nonsense"),
        ] {
            let err = text.parse::<PostgresUrl>().expect_err(text);
            assert!(err.problem.contains(says), "{text}: {err}");
            assert!(!format!("{err} {err:?}").contains("secret"), "{err}");
        }
    }
}
