//! Where the database is, and ordinary connections to its primary.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls, Row, SimpleQueryMessage, types::ToSql};

use crate::error::{FeedError, Problem, Setup};
use crate::event::Identity;

/// How long a server may take to answer a small question.
const PATIENCE: Duration = Duration::from_secs(5);

/// The hosts of a URL, any of which may be the primary.
#[derive(Clone)]
pub(super) struct Server {
    hosts: Arc<[Address]>,
    user: String,
    password: String,
    database: String,
}

/// One host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Address {
    /// A name, an address, or a folder of Unix sockets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Server {
    pub(super) fn parse(url: &str) -> Result<Self, FeedError> {
        let refuse = |what: String, fix: &str| {
            let problems = vec![Problem::new(what, [fix.to_owned()])];
            FeedError::from(Setup { database: "The source's URL".to_owned(), problems })
        };
        let form = "-- write: url = \"postgres://user:password@host:5432/database\"";
        // The parser's own words never hold the password.
        let config: Config = url.parse().map_err(|err| refuse(format!("{err}."), form))?;
        if config.get_ssl_mode() == SslMode::Require {
            let what = "`sslmode=require` is not supported for following a PostgreSQL.".to_owned();
            return Err(refuse(what, "-- follow it over a trusted network, or through a tunnel"));
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
            return Err(refuse("The URL names no host.".to_owned(), form));
        }
        let user = config.get_user().unwrap_or("postgres").to_owned();
        Ok(Self {
            hosts,
            database: config.get_dbname().unwrap_or(&user).to_owned(),
            password: String::from_utf8_lossy(config.get_password().unwrap_or_default()).into(),
            user,
        })
    }

    /// For people; no secrets.
    pub(super) fn name(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(|a| format!("{}:{}", a.host, a.port)).collect();
        format!("PostgreSQL database `{}` at {}", self.database, hosts.join(","))
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// An ordinary connection to the first host that is a primary.
    pub(super) async fn connect(&self) -> Result<Control, FeedError> {
        let mut last = None;
        for address in self.hosts.iter() {
            match self.connect_to(address).await {
                Ok(control) => return Ok(control),
                Err(err) => last = Some(err),
            }
        }
        Err(last.expect("there is at least one host"))
    }

    async fn connect_to(&self, address: &Address) -> Result<Control, FeedError> {
        const DOING: &str = "connecting";
        let mut config = Config::new();
        config
            .host(&address.host)
            .port(address.port)
            .user(&self.user)
            .dbname(&self.database)
            .application_name("tidegate")
            .connect_timeout(PATIENCE);
        if !self.password.is_empty() {
            config.password(&self.password);
        }
        let connecting = timeout(PATIENCE, config.connect(NoTls)).await;
        let (client, connection) = connecting
            .map_err(|err| FeedError::unavailable(DOING, err))?
            .map_err(|err| FeedError::unavailable(DOING, with_cause(&err)))?;
        let driver = tokio::spawn(async move {
            // Its error is told by the queries that fail because of it.
            let _ = connection.await;
        });
        let control = Control { client, driver, address: address.clone() };
        let row = control.row(DOING, "select pg_is_in_recovery()", &[]).await?;
        if row.get(0) {
            let complaint =
                format!("{}:{} is a standby, not the primary", address.host, address.port);
            return Err(FeedError::unavailable(DOING, complaint));
        }
        // A DBA's limits for applications are not meant for a connection that stays open, and a
        // request in the log must not wait for standbys.
        control
            .run(
                "set idle_session_timeout = 0; set statement_timeout = '10s'; \
                 set synchronous_commit = local; set default_transaction_read_only = off",
            )
            .await?;
        Ok(control)
    }
}

/// An ordinary connection. Closed on drop.
pub(super) struct Control {
    client: Client,
    driver: JoinHandle<()>,
    address: Address,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Control {
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Whether the server behind it is still the same process that we connected to: all its
    /// children die when one of them crashes.
    pub(super) async fn still_answers(&self) -> bool {
        self.rows("asking for a sign of life", "select 1", &[]).await.is_ok()
    }

    pub(super) async fn rows(
        &self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, FeedError> {
        match timeout(PATIENCE, self.client.query(sql, parameters)).await {
            Ok(rows) => rows.map_err(|err| FeedError::unavailable(doing, with_cause(&err))),
            Err(err) => Err(FeedError::unavailable(doing, err)),
        }
    }

    pub(super) async fn row(
        &self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, FeedError> {
        let rows = self.rows(doing, sql, parameters).await?;
        rows.into_iter().next().ok_or_else(|| FeedError::unavailable(doing, "no row came back"))
    }

    /// One value by the simple protocol: a single round trip, where preparing a statement, running
    /// and closing it takes three.
    pub(super) async fn text(&self, doing: &'static str, sql: &str) -> Result<String, FeedError> {
        let answer = match timeout(PATIENCE, self.client.simple_query(sql)).await {
            Ok(answer) => answer.map_err(|err| FeedError::unavailable(doing, with_cause(&err)))?,
            Err(err) => return Err(FeedError::unavailable(doing, err)),
        };
        let value = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        value.ok_or_else(|| FeedError::unavailable(doing, "no value came back"))
    }

    /// Several statements, or one that may take long.
    pub(super) async fn run(&self, sql: &str) -> Result<(), FeedError> {
        let ran = self.client.batch_execute(sql).await;
        ran.map_err(|err| FeedError::unavailable("running a statement", with_cause(&err)))
    }

    pub(super) async fn identity(&self) -> Result<Identity, FeedError> {
        const DOING: &str = "asking who the database is";
        // After a crash of one of its processes the server starts over without a new start time,
        // but it throws its statistics away.
        let sql = "select system_identifier::text, \
                     substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), \
                     concat_ws(' ', extract(epoch from pg_postmaster_start_time()), \
                       (select extract(epoch from stats_reset) from pg_stat_bgwriter)) \
                   from pg_control_system()";
        let row = self.row(DOING, sql, &[]).await?;
        let (system, timeline): (&str, &str) = (row.get(0), row.get(1));
        let unread = || FeedError::Malformed(format!("system {system}, timeline {timeline}"));
        Ok(Identity {
            system: system.parse().map_err(|_| unread())?,
            timeline: u32::from_str_radix(timeline, 16).map_err(|_| unread())?,
            server_started: row.get(2),
        })
    }
}

/// tokio-postgres says "db error" and keeps the interesting half in the source.
fn with_cause(err: &tokio_postgres::Error) -> String {
    match (err.as_db_error(), std::error::Error::source(err)) {
        (Some(db), _) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{err}: {source}"),
        (None, None) => err.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts_share_the_rest() {
        let server = Server::parse("postgres://shop:secret@a,b:6000/orders").unwrap();
        assert_eq!(server.name(), "PostgreSQL database `orders` at a:5432,b:6000");
        assert_eq!((server.user(), server.password()), ("shop", "secret"));
    }

    #[test]
    fn a_bad_url_is_explained_without_its_password() {
        for url in [
            "postgres://u:secret@h:port/d",
            "mysql://u:secret@h/d",
            "postgres://u:secret@/d?sslmode=require",
        ] {
            let err = Server::parse(url).err().expect(url).to_string();
            assert!(!err.contains("secret"), "{err}");
        }
    }
}
