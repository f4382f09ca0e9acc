use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;
use tokio::sync::Mutex;

use super::server::{Control, Server, quote_name, quote_text};
use super::transaction::{MESSAGE, ORDERS};
use crate::Source;
use crate::error::FeedError;
use crate::event::{Identity, LogEnd};
use crate::message::LogMessage;

/// Asks a MariaDB about its binary log, over one connection that is made again when lost.
pub struct MariaDbSource {
    server: Server,
    control: Mutex<Option<Arc<Control>>>,
}

impl MariaDbSource {
    /// Connects on the first question.
    ///
    /// # Errors
    /// [`FeedError::Setup`] when the URL is none, or asks for what is not supported.
    pub fn new(url: &str) -> Result<Self, FeedError> {
        Ok(Self { server: Server::parse(url)?, control: Mutex::default() })
    }

    async fn control(&self) -> Result<Arc<Control>, FeedError> {
        let mut slot = self.control.lock().await;
        if let Some(control) = &*slot {
            return Ok(control.clone());
        }
        let control = Arc::new(self.server.connect().await?);
        *slot = Some(control.clone());
        Ok(control)
    }

    /// After an error the next question makes a connection of its own.
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

    /// Writes into the table for requests and takes it out again, in one transaction: the log holds
    /// both, the table nothing.
    async fn write(&self, control: &Control, text: &str) -> Result<Lsn, FeedError> {
        let table = format!("{}.{ORDERS}", quote_name(self.server.database()));
        let sql = format!(
            "start transaction; insert into {table}({MESSAGE}) values ({}); \
             delete from {table} where id = last_insert_id(); commit",
            quote_text(text)
        );
        control.run("writing into the log", &sql).await?;
        Ok(control.end().await?.1.lsn())
    }
}

#[async_trait]
impl Source for MariaDbSource {
    async fn log_end(&self) -> Result<LogEnd, FeedError> {
        let control = self.control().await?;
        let end = control.end().await;
        let (identity, place) = self.judge(&control, end).await?;
        let Identity { system, timeline, .. } = identity;
        Ok(LogEnd { system, timeline, lsn: place.lsn() })
    }

    async fn emit(&self, message: &LogMessage) -> Result<Lsn, FeedError> {
        let json = message.to_json()?;
        let control = self.control().await?;
        let written = self.write(&control, &json).await;
        self.judge(&control, written).await
    }

    async fn nudge(&self) -> Result<(), FeedError> {
        let control = self.control().await?;
        let written = self.write(&control, "").await;
        self.judge(&control, written).await.map(drop)
    }

    async fn identity(&self) -> Result<Identity, FeedError> {
        let control = self.control().await?;
        let end = control.end().await;
        Ok(self.judge(&control, end).await?.0)
    }
}
