//! Connections to a MariaDB server.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Row, Value};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::connection_error::{ConnectionError, ServerCode};

/// Timeout for connecting and for small queries.
const TIMEOUT: Duration = Duration::from_secs(5);

/// After this many idle seconds the server closes a connection and releases its locks: the client may
/// have been cut off or stopped.
const IDLE_LIMIT_S: u32 = 10;

/// The largest event that the protocol and the server allow, in bytes; for ordinary sessions the
/// server's own limit applies.
const MAX_EVENT_BYTES: usize = 1 << 30;

/// A parsed URL.
#[derive(Clone)]
pub(super) struct ConnectConfig {
    opts: Opts,
}

/// The rows of a result, as texts.
pub(super) type Rows = Vec<Vec<Option<String>>>;

impl ConnectConfig {
    pub(super) fn parse(url: &str) -> Result<Self, ConnectionError> {
        let reject = |problem: String, remedy: &str| ConnectionError::Config {
            database: "The source's URL".to_owned(),
            problem,
            remedy: remedy.to_owned(),
        };
        let form = "-- write: url = \"mysql://user:password@host:3306/database\"";
        let url = match url.strip_prefix("mariadb://") {
            Some(rest) => format!("mysql://{rest}"),
            None => url.to_owned(),
        };
        // The parser's error may contain an unknown option, but never the password.
        let opts = Opts::from_url(&url).map_err(|err| reject(format!("{err}."), form))?;
        if opts.db_name().is_none_or(str::is_empty) {
            return Err(reject("The URL names no database.".to_owned(), form));
        }
        if opts.ssl_opts().is_some() {
            let problem = "TLS is not supported.".to_owned();
            return Err(reject(problem, "-- connect over a trusted network, or through a tunnel"));
        }
        let opts = OptsBuilder::from_opts(opts)
            .prefer_socket(false)
            .max_allowed_packet(Some(MAX_EVENT_BYTES))
            .tcp_keepalive(Some(Duration::from_secs(10)))
            .into();
        Ok(Self { opts })
    }

    /// Returns a display name without secrets.
    pub(super) fn name(&self) -> String {
        let (host, port) = (self.opts.ip_or_hostname(), self.opts.tcp_port());
        format!("MariaDB database `{}` at {host}:{port}", self.database())
    }

    pub(super) fn database(&self) -> &str {
        self.opts.db_name().unwrap_or_default()
    }

    /// Opens a connection without session settings.
    pub(super) async fn open(&self) -> Result<Conn, ConnectionError> {
        const OPERATION: &str = "connecting";
        match timeout(TIMEOUT, Conn::new(self.opts.clone())).await {
            Ok(conn) => conn.map_err(|err| driver_error(OPERATION, err)),
            Err(err) => Err(ConnectionError::unavailable(OPERATION, err)),
        }
    }

    /// Opens a connection for queries. Rejects servers other than MariaDB.
    pub(super) async fn connect(&self) -> Result<Connection, ConnectionError> {
        const OPERATION: &str = "connecting";
        let connection = Connection {
            conn: Mutex::new(Some(self.open().await?)),
            instance: String::new(),
            started: String::new(),
        };
        let version = connection.value(OPERATION, "select version()").await?;
        if !version.contains("MariaDB") {
            return Err(ConnectionError::Config {
                database: self.name(),
                problem: format!("The server is not MariaDB; its version is {version:?}."),
                remedy: "-- MySQL is not supported yet; MariaDB 10.5 or later is needed".to_owned(),
            });
        }
        // The limits that an administrator sets for applications do not apply to this connection.
        let session = format!(
            "set session wait_timeout = {IDLE_LIMIT_S}, max_statement_time = 10, lock_wait_timeout = 5, \
             innodb_lock_wait_timeout = 5, sql_mode = '', autocommit = 1, time_zone = '+00:00'"
        );
        connection.run(OPERATION, &session).await?;
        let server = "select (select group_concat(variable_value order by variable_name separator ' ') \
                        from information_schema.global_variables where variable_name in \
                        ('DATADIR', 'LOG_BIN_BASENAME', 'SERVER_ID', 'SERVER_UID')), \
                      unix_timestamp() - variable_value \
                      from information_schema.global_status where variable_name = 'UPTIME'";
        let mut columns = connection.row(OPERATION, server).await?.into_iter();
        let mut next = || columns.next().flatten().unwrap_or_default();
        Ok(Connection { instance: next(), started: next(), ..connection })
    }
}

/// An open connection. Closed on drop, and after a query that was given up.
pub(super) struct Connection {
    conn: Mutex<Option<Conn>>,
    /// Identifies the server's installation.
    instance: String,
    /// When the server started; constant while it runs.
    started: String,
}

impl Connection {
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn started(&self) -> &str {
        &self.started
    }

    /// Runs statements in one round trip and returns their results. Dropping the future closes the
    /// connection.
    pub(super) async fn query(
        &self,
        operation: &'static str,
        sql: &str,
    ) -> Result<Vec<Rows>, ConnectionError> {
        let mut slot = self.conn.lock().await;
        let Some(mut conn) = slot.take() else {
            return Err(ConnectionError::unavailable(operation, "the connection was lost"));
        };
        let results = match timeout(TIMEOUT, results(&mut conn, sql)).await {
            Ok(results) => results,
            Err(err) => return Err(ConnectionError::unavailable(operation, err)),
        };
        if !matches!(&results, Err(err) if err.is_fatal()) {
            *slot = Some(conn);
        }
        results.map_err(|err| driver_error(operation, err))
    }

    /// Returns the rows of the last result.
    pub(super) async fn rows(
        &self,
        operation: &'static str,
        sql: &str,
    ) -> Result<Rows, ConnectionError> {
        Ok(self.query(operation, sql).await?.pop().unwrap_or_default())
    }

    pub(super) async fn row(
        &self,
        operation: &'static str,
        sql: &str,
    ) -> Result<Vec<Option<String>>, ConnectionError> {
        let row = self.rows(operation, sql).await?.into_iter().next();
        row.ok_or_else(|| ConnectionError::unavailable(operation, "the query returned no row"))
    }

    pub(super) async fn value(
        &self,
        operation: &'static str,
        sql: &str,
    ) -> Result<String, ConnectionError> {
        let value = self.row(operation, sql).await?.into_iter().next().flatten();
        value.ok_or_else(|| ConnectionError::unavailable(operation, "the query returned no value"))
    }

    pub(super) async fn run(
        &self,
        operation: &'static str,
        sql: &str,
    ) -> Result<(), ConnectionError> {
        self.query(operation, sql).await.map(drop)
    }
}

async fn results(conn: &mut Conn, sql: &str) -> Result<Vec<Rows>, mysql_async::Error> {
    let mut result = conn.query_iter(sql).await?;
    let mut results = Vec::new();
    while !result.is_empty() {
        let rows: Vec<Row> = result.collect().await?;
        results.push(rows.into_iter().map(texts).collect());
    }
    Ok(results)
}

fn texts(row: Row) -> Vec<Option<String>> {
    let text = |value: Value| match value {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    };
    row.unwrap().into_iter().map(text).collect()
}

/// The driver's errors contain no secrets.
pub(super) fn driver_error(operation: &'static str, err: mysql_async::Error) -> ConnectionError {
    match err {
        mysql_async::Error::Server(err) => ConnectionError::Rejected {
            operation,
            message: err.message,
            code: ServerCode::Number(err.code),
        },
        err => ConnectionError::unavailable(operation, err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_error_hides_password() {
        for url in [
            "mysql://u:secret@h:port/d",
            "mysql://u:secret@h",
            "mysql://u:secret@h/d?require_ssl=true",
            "mysql://u:secret@h/d?nonsense=1",
        ] {
            let err = ConnectConfig::parse(url).err().expect(url);
            assert!(matches!(err, ConnectionError::Config { .. }), "{err:?}");
            assert!(!format!("{err} {err:?}").contains("secret"), "{err}");
        }
        let config = ConnectConfig::parse("mariadb://shop:secret@db/shop").unwrap();
        assert_eq!(config.name(), "MariaDB database `shop` at db:3306");
    }
}
