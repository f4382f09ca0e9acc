//! Queries to a PostgreSQL primary while its log is followed.

use std::sync::Arc;

use coherence::Snapshot;
use database::postgres::Connection;

use super::catalog;
use super::log;
use super::options::PostgresOptions;
use super::transport::Primary;
use super::visibility;
use crate::error::FeedError;

/// The connection beside a stream.
pub struct PostgresPrimary {
    pub(super) connection: Arc<Connection>,
    pub(super) options: Arc<PostgresOptions>,
}

impl Primary for PostgresPrimary {
    async fn snapshot(&self) -> Result<Snapshot, FeedError> {
        let text =
            self.connection.text(visibility::OPERATION, "select pg_current_snapshot()").await?;
        Snapshot::parse(&text).ok_or_else(|| FeedError::Malformed(format!("snapshot {text:?}")))
    }

    async fn fingerprint(&self) -> Result<String, FeedError> {
        let PostgresOptions { publication, tables, .. } = &*self.options;
        catalog::fingerprint(&self.connection, publication, tables).await
    }

    async fn nudge(&self) -> Result<(), FeedError> {
        log::nudge(&self.connection).await
    }
}
