//! Requests to a MariaDB server.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;

use super::connection::{ConnectConfig, Connection};
use super::log;
use crate::cached_connection::CachedConnection;
use crate::error::FeedError;
use crate::event::{Identity, LogEnd};
use crate::message::LogMessage;
use crate::source::Source;

/// Serves requests about a MariaDB's binary log over one connection, and reconnects after a loss.
pub struct MariaDbSource {
    config: ConnectConfig,
    connection: CachedConnection<Connection>,
}

impl MariaDbSource {
    /// Connects on the first request.
    ///
    /// # Errors
    /// [`FeedError::Setup`] if the URL is invalid or requires an unsupported feature.
    pub fn new(url: &str) -> Result<Self, FeedError> {
        Ok(Self { config: ConnectConfig::parse(url)?, connection: CachedConnection::default() })
    }

    async fn connection(&self) -> Result<Arc<Connection>, FeedError> {
        Ok(self.connection.get(|_| true, self.config.connect()).await?)
    }

    async fn append(&self, text: &str) -> Result<Lsn, FeedError> {
        let connection = self.connection().await?;
        let appended = log::append(&connection, self.config.database(), text).await;
        self.connection.check(&connection, appended).await
    }
}

#[async_trait]
impl Source for MariaDbSource {
    async fn log_end(&self) -> Result<LogEnd, FeedError> {
        let connection = self.connection().await?;
        let end = log::end(&connection).await;
        let (identity, position) = self.connection.check(&connection, end).await?;
        let Identity { system, timeline, .. } = identity;
        Ok(LogEnd { system, timeline, lsn: position.lsn() })
    }

    async fn emit(&self, message: &LogMessage) -> Result<Lsn, FeedError> {
        self.append(&message.to_json()?).await
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
