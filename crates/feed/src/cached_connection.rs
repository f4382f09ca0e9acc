//! A connection that is kept between requests.

use std::sync::Arc;

use database::DatabaseError;
use tokio::sync::Mutex;

use crate::error::FeedError;

/// One connection, opened on the first request and again after an error: the server may have stopped
/// responding, or may no longer be the primary.
pub(crate) struct CachedConnection<C>(Mutex<Option<Arc<C>>>);

impl<C> Default for CachedConnection<C> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<C> CachedConnection<C> {
    /// Returns the cached connection if it is usable, or opens one.
    pub(crate) async fn get(
        &self,
        is_usable: impl Fn(&C) -> bool,
        connect: impl Future<Output = Result<C, DatabaseError>>,
    ) -> Result<Arc<C>, DatabaseError> {
        let mut cached = self.0.lock().await;
        if let Some(connection) = cached.as_ref().filter(|connection| is_usable(connection)) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(connect.await?);
        *cached = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Drops the connection from the cache if its request has failed. Returns the request's result.
    pub(crate) async fn check<T>(
        &self,
        connection: &Arc<C>,
        result: Result<T, FeedError>,
    ) -> Result<T, FeedError> {
        if result.is_err() {
            let mut cached = self.0.lock().await;
            if cached.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
                *cached = None;
            }
        }
        result
    }
}
