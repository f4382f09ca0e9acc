//! Queries to a PostgreSQL primary while its log is followed.

use std::sync::Arc;

use coherence::Snapshot;
use database::postgres::Connection;

use super::log;
use super::schema::{DigestStatement, parse_digest};
use super::transport::Primary;
use super::visibility;
use crate::error::FeedError;

/// The connection beside a stream.
pub struct PostgresPrimary {
    pub(super) connection: Arc<Connection>,
    /// The statement for the digest of the stream's schema.
    pub(super) schema: DigestStatement,
}

impl Primary for PostgresPrimary {
    async fn snapshot(&self) -> Result<Snapshot, FeedError> {
        let text =
            self.connection.text(visibility::OPERATION, "select pg_current_snapshot()").await?;
        Snapshot::parse(&text).ok_or_else(|| FeedError::Malformed(format!("snapshot {text:?}")))
    }

    async fn schema_digest(&self) -> Result<u64, FeedError> {
        parse_digest(&self.schema.execute("checking the schema", &self.connection).await?)
    }

    async fn nudge(&self) -> Result<(), FeedError> {
        log::nudge(&self.connection).await
    }
}
