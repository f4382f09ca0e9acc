//! A connection that is kept between requests.

use std::sync::Arc;
use std::time::Duration;

use database::DatabaseError;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::error::FeedError;

/// A connection is replaced after this time, because its address may have come to lead to another server while
/// the old one runs on and keeps answering.
const MAX_AGE: Duration = Duration::from_secs(10);

/// The time limit of the connection that replaces a usable one. A request is given up after a second.
const RENEWAL_LIMIT: Duration = Duration::from_millis(500);

/// One connection, opened on the first request and again after an error: the server may have stopped
/// responding, or may no longer be the primary.
pub(crate) struct CachedConnection<C> {
    cached: Mutex<Option<Cached<C>>>,
    max_age: Duration,
}

struct Cached<C> {
    connection: Arc<C>,
    renew_at: Instant,
}

impl<C> Default for CachedConnection<C> {
    fn default() -> Self {
        Self::replaced_after(MAX_AGE)
    }
}

impl<C> CachedConnection<C> {
    fn replaced_after(max_age: Duration) -> Self {
        Self { cached: Mutex::new(None), max_age }
    }

    fn cache(&self, connection: C) -> Cached<C> {
        Cached { connection: Arc::new(connection), renew_at: Instant::now() + self.max_age }
    }

    /// Returns the cached connection if it is usable, or opens one. One that is old is replaced if its address
    /// accepts another.
    pub(crate) async fn get(
        &self,
        is_usable: impl Fn(&C) -> bool,
        connect: impl Future<Output = Result<C, DatabaseError>>,
    ) -> Result<Arc<C>, DatabaseError> {
        let mut cached = self.cached.lock().await;
        let Some(usable) = cached.as_mut().filter(|cached| is_usable(&cached.connection)) else {
            return Ok(Arc::clone(&cached.insert(self.cache(connect.await?)).connection));
        };
        if usable.renew_at <= Instant::now() {
            usable.renew_at = Instant::now() + self.max_age;
            match timeout(RENEWAL_LIMIT, connect).await {
                Ok(Ok(connection)) => *usable = self.cache(connection),
                Ok(Err(err)) => tracing::debug!(error = %err, "the connection was not replaced"),
                Err(_) => tracing::debug!("the connection was not replaced in time"),
            }
        }
        Ok(Arc::clone(&usable.connection))
    }

    /// Drops the connection from the cache if its request has failed. Returns the request's result.
    pub(crate) async fn check<T>(
        &self,
        connection: &Arc<C>,
        result: Result<T, FeedError>,
    ) -> Result<T, FeedError> {
        if result.is_err() {
            let mut cached = self.cached.lock().await;
            if cached.as_ref().is_some_and(|cached| Arc::ptr_eq(&cached.connection, connection)) {
                *cached = None;
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn old_connection_replaced() {
        let refused = || Err(DatabaseError::unreachable("connecting", "refused"));
        let young = CachedConnection::default();
        assert_eq!(*young.get(|_| true, async { Ok(1) }).await.expect("one"), 1);
        assert_eq!(*young.get(|_| true, async { Ok(2) }).await.expect("one"), 1);
        assert_eq!(*young.get(|_| false, async { Ok(3) }).await.expect("one"), 3);
        let old = CachedConnection::replaced_after(Duration::ZERO);
        assert_eq!(*old.get(|_| true, async { Ok(1) }).await.expect("one"), 1);
        assert_eq!(*old.get(|_| true, async { refused() }).await.expect("it still answers"), 1);
        assert_eq!(*old.get(|_| true, async { Ok(2) }).await.expect("one"), 2);
        assert!(old.get(|_| false, async { refused() }).await.is_err());
    }
}
