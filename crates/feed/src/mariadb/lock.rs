//! The lock that elects the one node that follows a log.

use contract::fnv1a;
use database::mariadb::{ConnectConfig, Connection};
use database::quoting::mariadb_literal;

use super::options::MariaDbOptions;
use crate::error::FeedError;

/// Tries to acquire the lock, which the connection then holds. Returns false if another holds it.
pub(super) async fn try_lock(
    connection: &Connection,
    config: &ConnectConfig,
    options: &MariaDbOptions,
) -> Result<bool, FeedError> {
    // Lock names are global to the server and limited in length.
    let scope = format!("{}\0{}", config.url.database(), options.slot);
    let name = mariadb_literal(&format!("tidegate {:016x}", fnv1a(scope.bytes())));
    let sql = format!("select get_lock({name}, 0)");
    Ok(connection.value("acquiring the lock", &sql).await? == "1")
}
