//! Pools of connections.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, PoolError, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;

use super::config::ConnectConfig;
use super::identity::{CurrentServer, DatabaseIdentity};
use super::session::{Opened, SessionId};
use crate::error::{DatabaseError, Failure};

const OPERATION: &str = "connecting";

/// A pool of connections to one server. Clones share the connections.
#[derive(Clone)]
pub struct Pool {
    pool: managed::Pool<Opener>,
    /// Also identifies the pool among its clones and others.
    generation: Arc<AtomicU64>,
}

/// A connection of a [`Pool`], with a cache of prepared statements. Returns to the pool on drop.
pub type PooledConnection = Object<Opener>;

/// An open session of a pool.
pub struct Session {
    client: ClientWrapper,
    id: SessionId,
    identity: Option<DatabaseIdentity>,
    /// The pool's generation when it was opened.
    generation: u64,
}

impl Session {
    /// Returns its identity on the server.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Returns the database behind the connection; `None`: the server need not be a primary.
    #[must_use]
    pub fn identity(&self) -> Option<&DatabaseIdentity> {
        self.identity.as_ref()
    }
}

impl Deref for Session {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

/// Opens a pool's connections.
pub struct Opener {
    config: ConnectConfig,
    /// The time limit for each host.
    limit: Duration,
    server: CurrentServer,
    /// The present generation.
    generation: Arc<AtomicU64>,
}

impl managed::Manager for Opener {
    type Type = Session;
    type Error = DatabaseError;

    async fn create(&self) -> Result<Session, DatabaseError> {
        let generation = self.generation.load(Relaxed);
        let Opened { client, driver, id, identity, .. } = self.config.open(self.limit).await?;
        identity.iter().for_each(|identity| self.server.opened(identity));
        Ok(Session { client: ClientWrapper::new(client, driver), id, identity, generation })
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<DatabaseError> {
        if session.is_closed() {
            return Err(RecycleError::message("connection closed"));
        }
        if session.identity().is_some_and(|identity| !self.server.is_current(identity)) {
            return Err(RecycleError::message("the address leads to another server"));
        }
        if session.generation != self.generation.load(Relaxed) {
            return Err(RecycleError::message("connection of an earlier generation"));
        }
        Ok(())
    }
}

impl Pool {
    /// Creates a pool without connections: the first use opens the first one. There are at most `size`
    /// connections. `limit` is the time limit of the wait for a free one, and of opening one.
    #[must_use]
    pub fn new(config: ConnectConfig, size: usize, limit: Duration) -> Self {
        Self::of_server(config, size, limit, CurrentServer::default())
    }

    /// As [`new`](Self::new), with connections to the same server as all others that share `server`.
    #[must_use]
    pub fn of_server(
        config: ConnectConfig,
        size: usize,
        limit: Duration,
        server: CurrentServer,
    ) -> Self {
        // Else the first host could use up the time of the others.
        let hosts = u32::try_from(config.url.hosts().len()).unwrap_or(u32::MAX);
        let generation = Arc::<AtomicU64>::default();
        let limit_per_host = limit / hosts;
        let opener =
            Opener { config, limit: limit_per_host, server, generation: Arc::clone(&generation) };
        let pool = managed::Pool::builder(opener)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(limit))
            .build()
            .expect("a pool with a runtime can have timeouts");
        Self { pool, generation }
    }

    /// Whether both are clones of one pool.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.generation, &other.generation)
    }

    /// Begins a generation. Connections of other ones are closed instead of being used again: a connection keeps
    /// the settings that it began with. Nothing changes if it is the present generation.
    pub fn renew(&self, generation: u64) {
        self.generation.store(generation, Relaxed);
    }

    /// Returns a connection that nothing else uses until it is dropped.
    ///
    /// # Errors
    /// No connection became free or could be opened in time, or the server refused.
    pub async fn connection(&self) -> Result<PooledConnection, DatabaseError> {
        self.pool.get().await.map_err(|err| match err {
            PoolError::Backend(err) => err,
            PoolError::Timeout(_) => {
                DatabaseError { operation: OPERATION, failure: Failure::NoFreeConnection }
            }
            other => DatabaseError::unreachable(OPERATION, other),
        })
    }

    /// Returns a connection that must be [released](BorrowedConnection::release).
    ///
    /// # Errors
    /// As [`connection`](Self::connection).
    pub async fn borrow(&self) -> Result<BorrowedConnection, DatabaseError> {
        Ok(BorrowedConnection(Some(self.connection().await?)))
    }
}

/// A connection that returns to its pool only when its transaction is known to have ended. If it is
/// dropped before, it is closed.
pub struct BorrowedConnection(Option<PooledConnection>);

impl BorrowedConnection {
    /// Returns the connection.
    pub fn client(&self) -> &PooledConnection {
        self.0.as_ref().expect("release takes self, so the connection is there until then")
    }

    /// Returns it to its pool.
    pub fn release(mut self) {
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
