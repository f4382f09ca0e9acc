use std::sync::Arc;

use async_trait::async_trait;
use coherence::{Cause, Lsn, Subject};
use tokio::sync::Mutex;

use super::server::{Control, Server};
use crate::Source;
use crate::error::FeedError;
use crate::event::{Identity, LogEnd};
use crate::message::LogMessage;

/// Asks a PostgreSQL's primary about its log, over one connection that is made again when lost.
pub struct PostgresSource {
    server: Server,
    control: Mutex<Option<Arc<Control>>>,
}

impl PostgresSource {
    /// Connects on the first question.
    ///
    /// # Errors
    /// [`FeedError::Setup`] when the URL is none, or asks for what is not supported.
    pub fn new(url: &str) -> Result<Self, FeedError> {
        Ok(Self { server: Server::parse(url)?, control: Mutex::default() })
    }

    async fn control(&self) -> Result<Arc<Control>, FeedError> {
        let mut slot = self.control.lock().await;
        if let Some(control) = slot.as_ref().filter(|control| !control.is_closed()) {
            return Ok(control.clone());
        }
        let control = Arc::new(self.server.connect().await?);
        *slot = Some(control.clone());
        Ok(control)
    }

    /// A server that stopped answering, or stopped being the primary, is looked for again.
    async fn judge<T>(
        &self,
        control: &Arc<Control>,
        answer: Result<T, FeedError>,
    ) -> Result<T, FeedError> {
        if answer.is_err() {
            let mut slot = self.control.lock().await;
            if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, control)) {
                *slot = None;
            }
        }
        answer
    }
}

#[async_trait]
impl Source for PostgresSource {
    async fn log_end(&self) -> Result<LogEnd, FeedError> {
        let control = self.control().await?;
        let end = log_end(&control).await;
        self.judge(&control, end).await
    }

    async fn emit(&self, message: &LogMessage) -> Result<Lsn, FeedError> {
        let json = message.to_json()?;
        let control = self.control().await?;
        let emitted = emit(&control, LogMessage::PREFIX, &json).await;
        // This session flushes its commits, so the flush position is now at or past the end of
        // this one; and unlike the insert position it is one that the feed reaches by itself.
        let end = match emitted {
            Ok(()) => position(&control, "select pg_current_wal_flush_lsn()::text").await,
            Err(err) => Err(err),
        };
        self.judge(&control, end).await
    }

    async fn nudge(&self) -> Result<(), FeedError> {
        let control = self.control().await?;
        let nudged = nudge(&control).await;
        self.judge(&control, nudged).await
    }

    async fn identity(&self) -> Result<Identity, FeedError> {
        let control = self.control().await?;
        let identity = control.identity().await;
        self.judge(&control, identity).await
    }
}

/// A commit that changes nothing, flushed.
pub(super) async fn nudge(control: &Control) -> Result<(), FeedError> {
    emit(control, "tidegate.nudge", "").await
}

/// Tells every feed that anything may have changed.
pub(super) async fn emit_everything(control: &Control) -> Result<(), FeedError> {
    let subjects = vec![Subject::Everything];
    let message = LogMessage { id: "schema".to_owned(), cause: Cause::Application, subjects };
    emit(control, LogMessage::PREFIX, &message.to_json()?).await
}

/// Writes a message of no consequence into the log, and says where the log was flushed to then: at its
/// commit's end, or past it.
pub(super) async fn emit_beat(control: &Control, beat: &str) -> Result<Lsn, FeedError> {
    emit(control, BEAT, beat).await?;
    position(control, "select pg_current_wal_flush_lsn()::text").await
}

/// The prefix of messages that a follower looks out for itself.
pub(super) const BEAT: &str = "tidegate.beat";

async fn emit(control: &Control, prefix: &str, content: &str) -> Result<(), FeedError> {
    let sql = "select pg_logical_emit_message(true, $1, $2::text)::text";
    control.row("writing into the log", sql, &[&prefix, &content]).await?;
    Ok(())
}

async fn log_end(control: &Control) -> Result<LogEnd, FeedError> {
    // Not the flush position: with `synchronous_commit = off` a commit is acknowledged first and
    // flushed later.
    let sql = "select concat_ws(' ', system_identifier, \
                 ('x' || substr(pg_walfile_name(lsn), 1, 8))::bit(32)::bigint, lsn) \
               from pg_control_system(), pg_current_wal_insert_lsn() lsn";
    let text = control.text("asking for the end of the log", sql).await?;
    let mut parts = text.split(' ');
    let mut parse = || {
        let system = parts.next()?.parse().ok()?;
        let timeline = parts.next()?.parse().ok()?;
        Some(LogEnd { system, timeline, lsn: parts.next()?.parse().ok()? })
    };
    parse().ok_or_else(|| FeedError::Malformed(format!("the end of the log: {text:?}")))
}

async fn position(control: &Control, sql: &str) -> Result<Lsn, FeedError> {
    let text = control.text("asking for the end of the log", sql).await?;
    text.parse().map_err(|err| FeedError::Malformed(format!("{err}")))
}
