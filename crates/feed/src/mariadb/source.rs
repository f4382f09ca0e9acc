//! Requests to a MariaDB server.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::{ClockTime, Log, Lsn};
use database::mariadb::{ConnectConfig, Connection, CurrentServer, MariaDbUrl};

use super::connection::{connect_config, connect_to_current};
use super::log;
use crate::cached_connection::CachedConnection;
use crate::error::FeedError;
use crate::event::{Identity, LogEnd};
use crate::message::LogMessage;
use crate::message_keys::MessageKeys;
use crate::source::Source;

/// Serves requests about a MariaDB's binary log over one connection, and reconnects after a loss.
pub struct MariaDbSource {
    config: ConnectConfig,
    connection: CachedConnection<Connection>,
    server: CurrentServer,
    message_keys: MessageKeys,
}

impl MariaDbSource {
    /// Connects on the first request.
    #[must_use]
    pub fn new(url: &MariaDbUrl) -> Self {
        Self::of_server(url, CurrentServer::default())
    }

    /// As [`new`](Self::new), with a connection to the same server as all others that share `server`.
    #[must_use]
    pub fn of_server(url: &MariaDbUrl, server: CurrentServer) -> Self {
        Self {
            config: connect_config(url),
            connection: CachedConnection::default(),
            server,
            message_keys: MessageKeys::default(),
        }
    }

    /// Also signs the messages that it writes.
    #[must_use]
    pub fn with_message_keys(self, message_keys: MessageKeys) -> Self {
        Self { message_keys, ..self }
    }

    async fn connection(&self) -> Result<Arc<Connection>, FeedError> {
        let is_usable = |connection: &Connection| self.server.is_current(connection.server());
        Ok(self.connection.get(is_usable, connect_to_current(&self.config, &self.server)).await?)
    }

    async fn append(&self, text: &str) -> Result<Lsn, FeedError> {
        let connection = self.connection().await?;
        let appended = log::append(&connection, self.config.url.database(), text).await;
        self.connection.check(&connection, appended).await
    }
}

#[async_trait]
impl Source for MariaDbSource {
    async fn log_end(&self) -> Result<LogEnd, FeedError> {
        let connection = self.connection().await?;
        let end = log::end(&connection).await;
        let (identity, position) = self.connection.check(&connection, end).await?;
        let Log { system, timeline, server } = identity.log();
        Ok(LogEnd { system, timeline, server, lsn: position.lsn() })
    }

    async fn clock(&self) -> Result<Option<ClockTime>, FeedError> {
        let connection = self.connection().await?;
        let time = log::clock(&connection).await;
        self.connection.check(&connection, time).await.map(Some)
    }

    async fn emit(&self, message: &LogMessage) -> Result<Lsn, FeedError> {
        self.append(&self.message_keys.write(message)?).await
    }

    async fn nudge(&self) -> Result<(), FeedError> {
        self.append("").await.map(drop)
    }

    async fn identity(&self) -> Result<Identity, FeedError> {
        let connection = self.connection().await?;
        let end = log::end(&connection).await;
        Ok(self.connection.check(&connection, end).await?.0)
    }
}
