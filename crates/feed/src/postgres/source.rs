//! Requests to a PostgreSQL primary.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;
use database::postgres::{ConnectConfig, Connection, CurrentServer, PostgresUrl};

use super::connection::{TIMEOUT, connect_config};
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
    server: CurrentServer,
}

impl PostgresSource {
    /// Connects on the first request.
    #[must_use]
    pub fn new(url: &PostgresUrl) -> Self {
        Self::of_server(url, CurrentServer::default())
    }

    /// As [`new`](Self::new), with a connection to the same server as all others that share `server`.
    #[must_use]
    pub fn of_server(url: &PostgresUrl, server: CurrentServer) -> Self {
        Self { config: connect_config(url), connection: CachedConnection::default(), server }
    }

    async fn connection(&self) -> Result<Arc<Connection>, FeedError> {
        let is_usable = |connection: &Connection| {
            !connection.is_closed() && connection.is_current(&self.server)
        };
        let connect = self.config.connect_to_current(&self.server, TIMEOUT);
        Ok(self.connection.get(is_usable, connect).await?)
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

    fn orders_timelines(&self) -> bool {
        true
    }

    async fn identity(&self) -> Result<Identity, FeedError> {
        let connection = self.connection().await?;
        let identity = log::identity(&connection).await;
        self.connection.check(&connection, identity).await
    }
}
