//! The feed's own connections.

use std::time::Duration;

use database::DatabaseError;
use database::mariadb::{ConnectConfig, Connection, CurrentServer, MariaDbUrl, ServerIdentity};
use mysql_async::Conn;

/// Timeout for connecting and for small queries.
const TIMEOUT: Duration = Duration::from_secs(5);

/// After this many idle seconds the server closes a connection and releases its locks: the client may
/// have been cut off or stopped.
const IDLE_LIMIT_S: u32 = 10;

/// The largest event that the protocol and the server allow, in bytes; for ordinary sessions the
/// server's own limit applies.
const MAX_EVENT_BYTES: usize = 1 << 30;

/// Returns the configuration of connections for queries. The limits that an administrator sets for
/// applications do not apply to them.
pub(super) fn connect_config(url: &MariaDbUrl) -> ConnectConfig {
    let session = format!(
        "set session wait_timeout = {IDLE_LIMIT_S}, max_statement_time = 10, lock_wait_timeout = 5, \
         innodb_lock_wait_timeout = 5, sql_mode = '', autocommit = 1, time_zone = '+00:00'"
    );
    ConnectConfig {
        url: url.clone(),
        session: vec![session],
        max_packet_bytes: Some(MAX_EVENT_BYTES),
    }
}

/// Opens a connection for queries.
pub(super) async fn connect(config: &ConnectConfig) -> Result<Connection, DatabaseError> {
    config.connect(TIMEOUT).await
}

/// Opens a connection for queries, and records which server the address leads to.
pub(super) async fn connect_to_current(
    config: &ConnectConfig,
    server: &CurrentServer,
) -> Result<Connection, DatabaseError> {
    config.connect_to_current(server, TIMEOUT).await
}

/// Opens a connection to `server` that becomes a stream of the log, without session settings.
pub(super) async fn open_for_log(
    config: &ConnectConfig,
    server: &ServerIdentity,
) -> Result<Conn, DatabaseError> {
    ConnectConfig { session: Vec::new(), ..config.clone() }.open_on(server, TIMEOUT).await
}
