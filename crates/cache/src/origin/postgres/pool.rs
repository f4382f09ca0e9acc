//! Connections to one server.

use std::sync::Arc;
use std::time::Duration;

use contract::Contract;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::{Config, NoTls};

use super::error::{classify, no_connection};
use crate::origin::error::OriginError;
use crate::origin::sql::quoted;

/// A pool of connections to one server.
#[derive(Clone)]
pub struct PostgresPool {
    pool: Pool,
    /// Identifies the pool among its clones and others.
    identity: Arc<()>,
}

impl PostgresPool {
    /// Creates a pool without connections: the first load opens the first one. `timeout` limits each
    /// statement in the server as well (`statement_timeout`).
    ///
    /// # Errors
    /// The URL can't be read.
    pub fn new(url: &str, connections: usize, timeout: Duration) -> Result<Self, OriginError> {
        let mut config: Config = url
            .parse()
            .map_err(|err| OriginError::broken(format!("the source's url can't be read: {err}")))?;
        config.application_name("tidegate-origin");
        config.connect_timeout(timeout);
        config.options(format!(
            "{} -c statement_timeout={} -c default_transaction_read_only=on",
            config.get_options().unwrap_or_default(),
            timeout.as_millis(),
        ));
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method });
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(timeout))
            .create_timeout(Some(timeout))
            .build()
            .map_err(|err| {
                OriginError::broken(format!("the connection pool can't be built: {err}"))
            })?;
        Ok(Self { pool, identity: Arc::default() })
    }

    /// Whether the log's record of a row is also the answer to a reader of that row: the key of the
    /// contract's table is unique (else several rows would answer), no row security hides the row, and no
    /// other table inherits from it.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn rows_match_log(&self, contract: &Contract) -> Result<bool, OriginError> {
        let Some(from) = &contract.from else { return Ok(false) };
        let table = table_name(&from.table);
        let client = self.connection().await?;
        let sql = "select c.relkind in ('r', 'p') and not c.relrowsecurity \
                     and (c.relkind = 'p' or not c.relhassubclass) \
                     and exists (select from pg_index i join pg_attribute a \
                       on a.attrelid = c.oid and a.attnum = i.indkey[0] \
                       where i.indrelid = c.oid and i.indisunique and i.indisvalid \
                       and i.indnkeyatts = 1 and i.indpred is null and i.indexprs is null \
                       and a.attname = $2) \
                   from pg_class c where c.oid = to_regclass($1)";
        let row =
            client.query_opt(sql, &[&table, &from.key]).await.map_err(|err| classify(&err))?;
        Ok(row.is_some_and(|row| row.get(0)))
    }

    /// Whether both are clones of one pool.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.identity, &other.identity)
    }

    pub(super) async fn connection(&self) -> Result<Object, OriginError> {
        self.pool.get().await.map_err(|err| no_connection(&err))
    }

    pub(super) async fn borrow(&self) -> Result<BorrowedConnection, OriginError> {
        Ok(BorrowedConnection(Some(self.connection().await?)))
    }
}

/// A connection that returns to its pool only when its transaction is known to have ended. If it is
/// dropped before, it is closed.
pub(super) struct BorrowedConnection(Option<Object>);

impl BorrowedConnection {
    pub(super) fn client(&self) -> &Object {
        self.0.as_ref().expect("release takes self, so the connection is there until then")
    }

    /// Returns it to its pool.
    pub(super) fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for BorrowedConnection {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

/// Returns `schema.table` or `table` as an SQL identifier.
pub(super) fn table_name(table: &str) -> String {
    table.split('.').map(quoted).collect::<Vec<_>>().join(".")
}
