//! How sessions are opened.

use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, SslNegotiation};

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
    /// Returns the driver's configuration for a session on an open stream, without the settings.
    pub(super) fn driver_config(&self, password: Option<&[u8]>, is_encrypted: bool) -> Config {
        // The stream is handed over as it is, after a handshake or without one.
        let ssl_mode = if is_encrypted { SslMode::Require } else { SslMode::Disable };
        let mut config = Config::new();
        config
            .user(self.url.user())
            .dbname(self.url.database())
            .application_name(self.application_name)
            .ssl_mode(ssl_mode)
            .ssl_negotiation(SslNegotiation::Direct)
            .channel_binding(self.url.config.get_channel_binding());
        if let Some(password) = password {
            config.password(password);
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
        // Statements here are short, while the estimates of those on the catalogue are far above their rows: the server
        // would compile them, for seconds. The URL may set it otherwise.
        format!(
            "-c jit=off {} -c statement_timeout={} -c default_transaction_read_only={read_only} {} {}",
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
    fn session_gets_login_of_url() {
        let config = config("postgres://u@a:1,b:2/d");
        let session = config.driver_config(Some(b"p"), true);
        assert_eq!((session.get_user(), session.get_dbname()), (Some("u"), Some("d")));
        assert_eq!(session.get_password(), Some(&b"p"[..]));
        assert_eq!(session.get_application_name(), Some("tests"));
        assert_eq!(session.get_ssl_mode(), SslMode::Require);
    }

    #[test]
    fn settings_follow_url_options() {
        let reads = config("postgres://u@a/d?options=-c%20search_path%3Dx");
        let writes = ConnectConfig { access: Access::ReadWrite, ..reads.clone() };
        let rest = "-c statement_timeout=1500 -c default_transaction_read_only";
        let texts = "-c datestyle=ISO -c intervalstyle=postgres -c bytea_output=hex \
                     -c extra_float_digits=1";
        let expected = |access| {
            format!(
                "-c jit=off -c search_path=x {rest}={access} {texts} -c synchronous_commit=local"
            )
        };
        assert_eq!(reads.options(), expected("on"));
        assert_eq!(writes.options(), expected("off"));
    }
}
