//! Requests to a PostgreSQL primary.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;
use database::postgres::{ConnectConfig, Connection, PostgresUrl};

use super::connection::{connect, connect_config};
use super::log;
use crate::cached_connection::CachedConnection;
use crate::error::FeedError;
use crate::event::{Identity, LogEnd};
use crate::message::LogMessage;
use crate::source::Source;

/// Serves requests about a PostgreSQL primary's log over one connection, and reconnects after a loss.
pub struct PostgresSource {
    config: ConnectConfig,
    connection: CachedConnection<Connection>,
}

impl PostgresSource {
    /// Connects on the first request.
    #[must_use]
    pub fn new(url: &PostgresUrl) -> Self {
        Self { config: connect_config(url), connection: CachedConnection::default() }
    }

    async fn connection(&self) -> Result<Arc<Connection>, FeedError> {
        let is_open = |connection: &Connection| !connection.is_closed();
        Ok(self.connection.get(is_open, connect(&self.config)).await?)
    }
}

#[async_trait]
impl Source for PostgresSource {
    async fn log_end(&self) -> Result<LogEnd, FeedError> {
        let connection = self.connection().await?;
        let end = log::end(&connection).await;
        self.connection.check(&connection, end).await
    }

    async fn emit(&self, message: &LogMessage) -> Result<Lsn, FeedError> {
        let json = message.to_json()?;
        let connection = self.connection().await?;
        let emitted = log::emit(&connection, &json).await;
        self.connection.check(&connection, emitted).await
    }

    async fn nudge(&self) -> Result<(), FeedError> {
        let connection = self.connection().await?;
        let nudged = log::nudge(&connection).await;
        self.connection.check(&connection, nudged).await
    }

    async fn identity(&self) -> Result<Identity, FeedError> {
        let connection = self.connection().await?;
        let identity = log::identity(&connection).await;
        self.connection.check(&connection, identity).await
    }
}
