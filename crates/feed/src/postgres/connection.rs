//! Connections to a PostgreSQL primary.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls, Row, SimpleQueryMessage, types::ToSql};

use crate::connection_error::{ConnectionError, ServerCode};

/// Timeout for connecting and for small queries.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Settings of a long-lived connection. The limits that an administrator sets for applications do not
/// apply to it, and its commits do not wait for standbys.
const SESSION: &str = "set idle_session_timeout = 0; set statement_timeout = '10s'; \
                       set synchronous_commit = local; set default_transaction_read_only = off";

/// A parsed URL. Any of its hosts may be the primary.
#[derive(Clone)]
pub(super) struct ConnectConfig {
    hosts: Arc<[Address]>,
    user: String,
    password: String,
    database: String,
}

/// The address of one host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Address {
    /// A name, an IP address, or a folder of Unix sockets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl ConnectConfig {
    pub(super) fn parse(url: &str) -> Result<Self, ConnectionError> {
        let reject = |problem: String, remedy: &str| ConnectionError::Config {
            database: "The source's URL".to_owned(),
            problem,
            remedy: remedy.to_owned(),
        };
        let form = "-- write: url = \"postgres://user:password@host:5432/database\"";
        // The parser's error never contains the password.
        let config: Config = url.parse().map_err(|err| reject(format!("{err}."), form))?;
        if config.get_ssl_mode() == SslMode::Require {
            let problem = "`sslmode=require` is not supported.".to_owned();
            return Err(reject(problem, "-- connect over a trusted network, or through a tunnel"));
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
            return Err(reject("The URL names no host.".to_owned(), form));
        }
        let user = config.get_user().unwrap_or("postgres").to_owned();
        Ok(Self {
            hosts,
            database: config.get_dbname().unwrap_or(&user).to_owned(),
            password: String::from_utf8_lossy(config.get_password().unwrap_or_default()).into(),
            user,
        })
    }

    /// Returns a display name without secrets.
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

    /// Connects to the first host that is a primary.
    pub(super) async fn connect(&self) -> Result<Connection, ConnectionError> {
        let mut last = None;
        for address in self.hosts.iter() {
            match self.connect_to(address).await {
                Ok(connection) => return Ok(connection),
                Err(err) => last = Some(err),
            }
        }
        Err(last.expect("there is at least one host"))
    }

    async fn connect_to(&self, address: &Address) -> Result<Connection, ConnectionError> {
        const OPERATION: &str = "connecting";
        let mut config = Config::new();
        config
            .host(&address.host)
            .port(address.port)
            .user(&self.user)
            .dbname(&self.database)
            .application_name("tidegate")
            .connect_timeout(TIMEOUT);
        if !self.password.is_empty() {
            config.password(&self.password);
        }
        let connecting = timeout(TIMEOUT, config.connect(NoTls)).await;
        let (client, driver) = connecting
            .map_err(|err| ConnectionError::unavailable(OPERATION, err))?
            .map_err(|err| driver_error(OPERATION, &err))?;
        let driver = tokio::spawn(async move {
            // The queries that fail because of its error report it.
            let _ = driver.await;
        });
        let connection = Connection { client, driver, address: address.clone() };
        let row = connection.row(OPERATION, "select pg_is_in_recovery()", &[]).await?;
        if row.get(0) {
            let problem =
                format!("{}:{} is a standby, not the primary", address.host, address.port);
            return Err(ConnectionError::unavailable(OPERATION, problem));
        }
        connection.run(SESSION).await?;
        Ok(connection)
    }
}

/// An open connection. Closed on drop.
pub(super) struct Connection {
    client: Client,
    /// Drives the connection's I/O.
    driver: JoinHandle<()>,
    address: Address,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Whether the server has run without a crash since the connection was opened: all its child
    /// processes end when one of them crashes.
    pub(super) async fn is_alive(&self) -> bool {
        self.rows("checking the connection", "select 1", &[]).await.is_ok()
    }

    pub(super) async fn rows(
        &self,
        operation: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ConnectionError> {
        match timeout(TIMEOUT, self.client.query(sql, parameters)).await {
            Ok(rows) => rows.map_err(|err| driver_error(operation, &err)),
            Err(err) => Err(ConnectionError::unavailable(operation, err)),
        }
    }

    pub(super) async fn row(
        &self,
        operation: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, ConnectionError> {
        let rows = self.rows(operation, sql, parameters).await?;
        let none = || ConnectionError::unavailable(operation, "the query returned no row");
        rows.into_iter().next().ok_or_else(none)
    }

    /// Queries one value by the simple protocol: a single round trip, where preparing, running and
    /// closing a statement takes three.
    pub(super) async fn text(
        &self,
        operation: &'static str,
        sql: &str,
    ) -> Result<String, ConnectionError> {
        let response = match timeout(TIMEOUT, self.client.simple_query(sql)).await {
            Ok(response) => response.map_err(|err| driver_error(operation, &err))?,
            Err(err) => return Err(ConnectionError::unavailable(operation, err)),
        };
        let value = response.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        value.ok_or_else(|| ConnectionError::unavailable(operation, "the query returned no value"))
    }

    /// Runs several statements, or one that may take long: there is no timeout on this side.
    pub(super) async fn run(&self, sql: &str) -> Result<(), ConnectionError> {
        let ran = self.client.batch_execute(sql).await;
        ran.map_err(|err| driver_error("running a statement", &err))
    }
}

/// tokio-postgres displays "db error" and keeps the details in the source.
fn driver_error(operation: &'static str, err: &tokio_postgres::Error) -> ConnectionError {
    match (err.as_db_error(), std::error::Error::source(err)) {
        (Some(db), _) => ConnectionError::Rejected {
            operation,
            message: db.message().to_owned(),
            code: ServerCode::SqlState(db.code().code().to_owned()),
        },
        (None, Some(source)) => ConnectionError::unavailable(operation, format!("{err}: {source}")),
        (None, None) => ConnectionError::unavailable(operation, err.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_with_several_hosts() {
        let config = ConnectConfig::parse("postgres://shop:secret@a,b:6000/orders").unwrap();
        assert_eq!(config.name(), "PostgreSQL database `orders` at a:5432,b:6000");
        assert_eq!((config.user(), config.password()), ("shop", "secret"));
    }

    #[test]
    fn url_error_hides_password() {
        for url in [
            "postgres://u:secret@h:port/d",
            "mysql://u:secret@h/d",
            "postgres://u:secret@/d?sslmode=require",
        ] {
            let err = ConnectConfig::parse(url).err().expect(url);
            assert!(matches!(err, ConnectionError::Config { .. }), "{err:?}");
            assert!(!format!("{err} {err:?}").contains("secret"), "{err}");
        }
    }
}
