//! Requests to a PostgreSQL primary.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use coherence::{ClockTime, Lsn};
use database::postgres::{ConnectConfig, Connection, CurrentServer, PostgresUrl};
use parking_lot::Mutex;

use super::connection::{TIMEOUT, connect_config};
use super::log;
use super::schema::{DigestStatement, FollowedSchema, SchemaScope};
use crate::cached_connection::CachedConnection;
use crate::error::FeedError;
use crate::event::{Identity, LogEnd, LogSample};
use crate::message::LogMessage;
use crate::message_keys::MessageKeys;
use crate::schema::Schema;
use crate::source::Source;

/// Serves requests about a PostgreSQL primary's log over one connection, and reconnects after a loss.
pub struct PostgresSource {
    config: ConnectConfig,
    connection: CachedConnection<Connection>,
    server: CurrentServer,
    scope: Option<Arc<SchemaScope>>,
    message_keys: MessageKeys,
    sampled: Mutex<Sampled>,
}

/// The schema that samples refer to.
#[derive(Default)]
struct Sampled {
    schema: Option<Arc<FollowedSchema>>,
    /// The session in which the statement for that schema is prepared.
    statement: Option<(Weak<Connection>, DigestStatement)>,
}

impl PostgresSource {
    /// Connects on the first request. The schema is not followed.
    #[must_use]
    pub fn new(url: &PostgresUrl) -> Self {
        Self::of_server(url, CurrentServer::default())
    }

    /// As [`new`](Self::new), with a connection to the same server as all others that share `server`.
    #[must_use]
    pub fn of_server(url: &PostgresUrl, server: CurrentServer) -> Self {
        Self {
            config: connect_config(url),
            connection: CachedConnection::default(),
            server,
            scope: None,
            message_keys: MessageKeys::default(),
            sampled: Mutex::default(),
        }
    }

    /// Also follows the schema of `scope`.
    #[must_use]
    pub fn with_schema(self, scope: Arc<SchemaScope>) -> Self {
        Self { scope: Some(scope), ..self }
    }

    /// Also signs the messages that it writes.
    #[must_use]
    pub fn with_message_keys(self, message_keys: MessageKeys) -> Self {
        Self { message_keys, ..self }
    }

    async fn connection(&self) -> Result<Arc<Connection>, FeedError> {
        let is_usable = |connection: &Connection| {
            !connection.is_closed() && connection.is_current(&self.server)
        };
        let connect = self.config.connect_to_current(&self.server, TIMEOUT);
        Ok(self.connection.get(is_usable, connect).await?)
    }

    async fn read_schema(&self, scope: &SchemaScope) -> Result<Arc<FollowedSchema>, FeedError> {
        let schema = Arc::new(scope.read().await?);
        *self.sampled.lock() = Sampled { schema: Some(Arc::clone(&schema)), statement: None };
        Ok(schema)
    }

    /// Returns the statement of a sample, prepared on `connection`.
    async fn statement(
        &self,
        scope: &SchemaScope,
        connection: &Arc<Connection>,
    ) -> Result<DigestStatement, FeedError> {
        let (known, prepared) = {
            let sampled = self.sampled.lock();
            let of_session = |(session, statement): &(Weak<Connection>, DigestStatement)| {
                let is_same = std::ptr::eq(session.as_ptr(), Arc::as_ptr(connection));
                is_same.then(|| statement.clone())
            };
            (sampled.schema.clone(), sampled.statement.as_ref().and_then(of_session))
        };
        if let Some(statement) = prepared {
            return Ok(statement);
        }
        let schema = match known {
            Some(schema) => schema,
            None => self.read_schema(scope).await?,
        };
        let statement = log::prepare_sample(connection, &schema).await?;
        let mut sampled = self.sampled.lock();
        if sampled.schema.as_ref().is_some_and(|known| Arc::ptr_eq(known, &schema)) {
            sampled.statement = Some((Arc::downgrade(connection), statement.clone()));
        }
        Ok(statement)
    }
}

#[async_trait]
impl Source for PostgresSource {
    async fn log_end(&self) -> Result<LogEnd, FeedError> {
        let connection = self.connection().await?;
        let end = log::end(&connection).await;
        self.connection.check(&connection, end).await
    }

    async fn sample(&self) -> Result<LogSample, FeedError> {
        let Some(scope) = &self.scope else {
            return Ok(LogSample { end: self.log_end().await?, schema: None });
        };
        let connection = self.connection().await?;
        let sample = async {
            let statement = self.statement(scope, &connection).await?;
            log::sample(&connection, &statement).await
        };
        self.connection.check(&connection, sample.await).await
    }

    async fn clock(&self) -> Result<Option<ClockTime>, FeedError> {
        let connection = self.connection().await?;
        let time = log::clock(&connection).await;
        self.connection.check(&connection, time).await.map(Some)
    }

    async fn schema(&self) -> Result<Option<Arc<Schema>>, FeedError> {
        let Some(scope) = &self.scope else { return Ok(None) };
        Ok(Some(Arc::clone(&self.read_schema(scope).await?.schema)))
    }

    async fn emit(&self, message: &LogMessage) -> Result<Lsn, FeedError> {
        let text = self.message_keys.write(message)?;
        let connection = self.connection().await?;
        let emitted = log::emit(&connection, &text).await;
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
