//! The feed's own connections.

use std::time::Duration;

use database::DatabaseError;
use database::postgres::{Access, ConnectConfig, Connection, PostgresUrl, ServerRole};

/// Timeout for connecting to a host and for small queries.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the configuration of long-lived connections. The limits that an administrator sets for
/// applications do not apply to them, and their commits do not wait for standbys.
pub(super) fn connect_config(url: &PostgresUrl) -> ConnectConfig {
    ConnectConfig {
        url: url.clone(),
        role: ServerRole::Primary,
        access: Access::ReadWrite,
        application_name: "tidegate",
        settings: &[("idle_session_timeout", "0"), ("synchronous_commit", "local")],
        statement_timeout: Duration::from_secs(10),
    }
}

/// Connects to the primary.
pub(super) async fn connect(config: &ConnectConfig) -> Result<Connection, DatabaseError> {
    config.connect(TIMEOUT).await
}
