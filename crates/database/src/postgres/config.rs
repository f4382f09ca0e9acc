//! How sessions are opened.

use std::time::Duration;

use tokio_postgres::Config;

use super::text::{TEXT_SETTINGS, startup_options};
use super::url::PostgresUrl;

/// The server that a session needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServerRole {
    /// The primary: a host that is a standby is refused.
    Primary,
    /// The first host that accepts the session, primary or standby.
    Any,
}

/// What a session may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Read.
    ReadOnly,
    /// Read and write, also where the administrator's default is otherwise.
    ReadWrite,
}

/// A URL, and the parameters of the sessions that are opened with it.
#[derive(Clone, Debug)]
pub struct ConnectConfig {
    /// The address. Its options apply too, except where the other fields say otherwise.
    pub url: PostgresUrl,
    /// The server that the sessions need.
    pub role: ServerRole,
    /// What the sessions may do.
    pub access: Access,
    /// The sessions' name in `pg_stat_activity`.
    pub application_name: &'static str,
    /// Further settings of the sessions: names and values. A backslash is before each space.
    pub settings: &'static [(&'static str, &'static str)],
    /// The time limit of a statement, in the server.
    pub statement_timeout: Duration,
}

impl ConnectConfig {
    /// Returns the driver's configuration for one of the hosts, without the settings.
    pub(super) fn driver_config(&self, at: usize) -> Config {
        let (url, address) = (&self.url.config, &self.url.hosts()[at]);
        let mut config = Config::new();
        config
            .host(&address.host)
            .port(address.port)
            .user(self.url.user())
            .dbname(self.url.database())
            .application_name(self.application_name)
            .ssl_mode(url.get_ssl_mode())
            .channel_binding(url.get_channel_binding())
            .keepalives(url.get_keepalives())
            .keepalives_idle(url.get_keepalives_idle());
        if let Some(password) = url.get_password().filter(|password| !password.is_empty()) {
            config.password(password);
        }
        if let Some(ip) = url.get_hostaddrs().get(at) {
            config.hostaddr(*ip);
        }
        if let Some(limit) = url.get_tcp_user_timeout() {
            config.tcp_user_timeout(*limit);
        }
        if let Some(interval) = url.get_keepalives_interval() {
            config.keepalives_interval(interval);
        }
        if let Some(retries) = url.get_keepalives_retries() {
            config.keepalives_retries(retries);
        }
        config
    }

    /// Returns the settings as the server's startup options. They rank above the defaults of the server, the
    /// database and the role, and cost no round trip.
    pub(super) fn options(&self) -> String {
        let read_only = match self.access {
            Access::ReadOnly => "on",
            Access::ReadWrite => "off",
        };
        format!(
            "{} -c statement_timeout={} -c default_transaction_read_only={read_only} {} {}",
            self.url.config.get_options().unwrap_or_default(),
            self.statement_timeout.as_millis(),
            startup_options(&TEXT_SETTINGS),
            startup_options(self.settings),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> ConnectConfig {
        ConnectConfig {
            url: url.parse().expect(url),
            role: ServerRole::Any,
            access: Access::ReadOnly,
            application_name: "tests",
            settings: &[("synchronous_commit", "local")],
            statement_timeout: Duration::from_millis(1_500),
        }
    }

    #[test]
    fn each_host_gets_url_options() {
        let url = "postgres://u:p@a:1,b:2/d?options=-c%20search_path%3Dx&keepalives_retries=4";
        let config = config(url);
        for (at, host, port) in [(0, "a", 1), (1, "b", 2)] {
            let session = config.driver_config(at);
            assert_eq!(session.get_hosts(), [tokio_postgres::config::Host::Tcp(host.to_owned())]);
            assert_eq!(session.get_ports(), [port]);
            assert_eq!((session.get_user(), session.get_dbname()), (Some("u"), Some("d")));
            assert_eq!(session.get_password(), Some(&b"p"[..]));
            assert_eq!(session.get_application_name(), Some("tests"));
            assert_eq!(session.get_keepalives_retries(), Some(4));
        }
    }

    #[test]
    fn settings_follow_url_options() {
        let reads = config("postgres://u@a/d?options=-c%20search_path%3Dx");
        let writes = ConnectConfig { access: Access::ReadWrite, ..reads.clone() };
        let rest = "-c statement_timeout=1500 -c default_transaction_read_only";
        let texts = "-c datestyle=ISO -c intervalstyle=postgres -c bytea_output=hex \
                     -c extra_float_digits=1";
        let expected = |access| {
            format!("-c search_path=x {rest}={access} {texts} -c synchronous_commit=local")
        };
        assert_eq!(reads.options(), expected("on"));
        assert_eq!(writes.options(), expected("off"));
    }
}
