//! Pools of connections.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, PoolError, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;

use super::config::{ConnectConfig, Opened};
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

/// Opens a pool's connections.
pub struct Opener {
    config: ConnectConfig,
    /// The time limit for each host.
    limit: Duration,
    /// The present generation.
    generation: Arc<AtomicU64>,
}

/// A session of a pool, with a cache of prepared statements.
pub struct PooledSession {
    client: ClientWrapper,
    /// The pool's generation when it was opened.
    generation: u64,
}

impl Deref for PooledSession {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

impl DerefMut for PooledSession {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        &mut self.client
    }
}

impl managed::Manager for Opener {
    type Type = PooledSession;
    type Error = DatabaseError;

    async fn create(&self) -> Result<PooledSession, DatabaseError> {
        let generation = self.generation.load(Relaxed);
        let Opened { client, driver, .. } = self.config.open(self.limit).await?;
        Ok(PooledSession { client: ClientWrapper::new(client, driver), generation })
    }

    async fn recycle(
        &self,
        session: &mut PooledSession,
        _: &Metrics,
    ) -> RecycleResult<DatabaseError> {
        if session.is_closed() {
            return Err(RecycleError::message("connection closed"));
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
        // Else the first host could use up the time of the others.
        let hosts = u32::try_from(config.url.hosts().len()).unwrap_or(u32::MAX);
        let generation = Arc::<AtomicU64>::default();
        let opener = Opener { config, limit: limit / hosts, generation: Arc::clone(&generation) };
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
