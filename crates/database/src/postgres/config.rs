//! How sessions are opened.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls};

use super::error::driver_error;
use super::identity::{DatabaseIdentity, IDENTITY_SQL};
use super::url::{Address, PostgresUrl};
use crate::error::{DatabaseError, Failure};

const OPERATION: &str = "connecting";

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
    /// Further settings of the sessions: names and values, without spaces.
    pub settings: &'static [(&'static str, &'static str)],
    /// The time limit of a statement, in the server.
    pub statement_timeout: Duration,
}

/// An open session.
pub(super) struct Opened {
    pub(super) client: Client,
    /// Drives the connection's I/O.
    pub(super) driver: JoinHandle<()>,
    pub(super) address: Address,
    /// The identity of the database; `None`: the server need not be a primary, and was not asked.
    pub(super) identity: Option<DatabaseIdentity>,
}

impl ConnectConfig {
    /// Connects to the first host that has the role. `limit` is the time limit for each host.
    ///
    /// # Errors
    /// The last host's failure.
    pub(super) async fn open(&self, limit: Duration) -> Result<Opened, DatabaseError> {
        let mut last = None;
        for at in 0..self.url.hosts().len() {
            let opening = timeout(limit, self.open_host(at)).await;
            match opening.unwrap_or_else(|_| Err(DatabaseError::timed_out(OPERATION, limit))) {
                Ok(opened) => return Ok(opened),
                Err(err) => last = Some(err),
            }
        }
        Err(last.expect("a URL has at least one host"))
    }

    /// Every connection is opened here, so that a policy for TLS has one place.
    async fn open_host(&self, at: usize) -> Result<Opened, DatabaseError> {
        let failed = |err| driver_error(OPERATION, &err);
        let (client, connection) = self.session(at).connect(NoTls).await.map_err(failed)?;
        let driver = tokio::spawn(async move {
            // The queries that fail because of its error report it.
            let _ = connection.await;
        });
        // Drops, and so ends, the driver if the check fails.
        let opened = AbortOnDrop(Some(driver));
        let address = self.url.hosts()[at].clone();
        let identity = match self.role {
            ServerRole::Primary => Some(identify_primary(&client, &address).await?),
            ServerRole::Any => None,
        };
        Ok(Opened { client, driver: opened.keep(), address, identity })
    }

    /// Returns the driver's configuration for one of the hosts.
    fn session(&self, at: usize) -> Config {
        let (url, address) = (&self.url.config, &self.url.hosts()[at]);
        let mut config = Config::new();
        config
            .host(&address.host)
            .port(address.port)
            .user(self.url.user())
            .dbname(self.url.database())
            .application_name(self.application_name)
            .options(self.options())
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
    fn options(&self) -> String {
        let read_only = match self.access {
            Access::ReadOnly => "on",
            Access::ReadWrite => "off",
        };
        let mut options = format!(
            "{} -c statement_timeout={} -c default_transaction_read_only={read_only}",
            self.url.config.get_options().unwrap_or_default(),
            self.statement_timeout.as_millis(),
        );
        for (name, value) in self.settings {
            options += &format!(" -c {name}={value}");
        }
        options
    }
}

/// Returns the identity of the database, in the question whether its server is the primary.
async fn identify_primary(
    client: &Client,
    address: &Address,
) -> Result<DatabaseIdentity, DatabaseError> {
    let sql = format!(
        "select pg_is_in_recovery(), case when pg_is_in_recovery() then '' else {IDENTITY_SQL} end"
    );
    let row = client.query_one(&sql, &[]).await.map_err(|err| driver_error(OPERATION, &err))?;
    if row.get(0) {
        let failure = Failure::NotPrimary(address.to_string());
        return Err(DatabaseError { operation: OPERATION, failure });
    }
    let text: &str = row.get(1);
    let malformed = || DatabaseError::unexpected(OPERATION, format!("the server is {text:?}"));
    DatabaseIdentity::parse(text).ok_or_else(malformed)
}

struct AbortOnDrop(Option<JoinHandle<()>>);

impl AbortOnDrop {
    fn keep(mut self) -> JoinHandle<()> {
        self.0.take().expect("keep takes self, so the task is there until then")
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
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
            settings: &[("datestyle", "ISO")],
            statement_timeout: Duration::from_millis(1_500),
        }
    }

    #[test]
    fn each_host_gets_url_options() {
        let url = "postgres://u:p@a:1,b:2/d?options=-c%20search_path%3Dx&keepalives_retries=4";
        let config = config(url);
        for (at, host, port) in [(0, "a", 1), (1, "b", 2)] {
            let session = config.session(at);
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
        let expected = |access| format!("-c search_path=x {rest}={access} -c datestyle=ISO");
        assert_eq!(reads.options(), expected("on"));
        assert_eq!(writes.options(), expected("off"));
    }
}
