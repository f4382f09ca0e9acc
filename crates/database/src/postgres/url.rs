//! Addresses of PostgreSQL databases.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::url_error::{UrlError, redacted, refused_tls};

const FORM: &str = "write postgres://user:password@host:5432/database";

/// `postgres://user:password@host:port/database`. It may name several hosts, separated by commas.
#[derive(Clone, Eq, PartialEq)]
pub struct PostgresUrl {
    text: Arc<str>,
    /// The options of the URL.
    pub(super) config: Arc<Config>,
    hosts: Arc<[Address]>,
}

/// The address of one host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// A name, an IP address, or a folder of Unix sockets.
    pub host: String,
    /// The port.
    pub port: u16,
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

    /// Returns the password; empty if the URL has none.
    #[must_use]
    pub fn password(&self) -> String {
        String::from_utf8_lossy(self.config.get_password().unwrap_or_default()).into_owned()
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
        let text_for_driver = without_session_attrs(text).map_err(|value| UrlError {
            problem: format!(
                "has target_session_attrs={value}, but the log is followed, and purge requests are written, on \
                 the primary"
            ),
            remedy: "leave it out: of the url's hosts the primary is used; name standbys in `replicas`"
                .to_owned(),
        })?;
        let config: Config = text_for_driver
            .parse()
            .map_err(|err| reject(format!("can't be read: {}", parse_error(&err))))?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(refused_tls("`sslmode=require`"));
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
        Ok(Self { text: text.into(), config: Arc::new(config), hosts })
    }
}

/// Returns the URL without `target_session_attrs`, which libpq and the driver read differently, and which the
/// [role](super::ServerRole) of the sessions replaces.
///
/// # Errors
/// Its value, if it asks for something other than the primary.
fn without_session_attrs(url: &str) -> Result<String, &str> {
    const NAME: &str = "target_session_attrs=";
    let Some((address, query)) = url.split_once('?') else { return Ok(url.to_owned()) };
    let attrs = query.split('&').filter_map(|option| option.strip_prefix(NAME));
    let is_primary = |attrs: &&str| matches!(*attrs, "any" | "read-write" | "primary");
    if let Some(other) = attrs.into_iter().find(|attrs| !is_primary(attrs)) {
        return Err(other);
    }
    let rest: Vec<&str> = query.split('&').filter(|option| !option.starts_with(NAME)).collect();
    Ok(if rest.is_empty() { address.to_owned() } else { format!("{address}?{}", rest.join("&")) })
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
        assert_eq!((url.user(), &*url.password(), url.database()), ("shop", "secret", "orders"));
        let url: PostgresUrl = "postgres://h".parse().expect("a url");
        assert_eq!((url.user(), &*url.password(), url.database()), ("postgres", "", "postgres"));
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
            ("postgres://u:secret@h/d?sslmode=require", "`sslmode=require`, which is not"),
            ("postgres://u:secret@h/d?nonsense=1", "nonsense"),
        ] {
            let err = text.parse::<PostgresUrl>().expect_err(text);
            assert!(err.problem.contains(says), "{text}: {err}");
            assert!(!format!("{err} {err:?}").contains("secret"), "{err}");
        }
    }
}
