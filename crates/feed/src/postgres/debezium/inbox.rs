//! The queue of posted bodies that wait to be applied.

use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::metrics::DebeziumMetrics;
use super::parser::{self, Message};

/// Bodies that may wait. Debezium posts one at a time.
const CAPACITY: usize = 16;

/// How long applying a body may take: less than Debezium's own timeout.
const APPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Accepts posted bodies. Clones lead to the same feed.
#[derive(Clone)]
pub struct EventInbox {
    sender: mpsc::Sender<PostedBody>,
    database: String,
    metrics: DebeziumMetrics,
}

/// A parsed body, and the sender's acknowledgement.
pub(super) struct PostedBody {
    pub(super) messages: Vec<Message>,
    /// Sent when the body is applied; dropped if it is rejected.
    pub(super) applied: oneshot::Sender<()>,
}

/// The reason why a body was rejected.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum InboxError {
    /// The body can't be parsed; the text says where, why, and how to configure Debezium.
    #[error("{0}")]
    Unreadable(String),
    /// This node does not take events now. The sender may post the body to another node, or again.
    #[error(
        "this node does not take events now: another node does, or it is still starting; post the \
         message again"
    )]
    NotReady,
}

impl EventInbox {
    pub(super) fn new(
        database: &str,
        metrics: DebeziumMetrics,
    ) -> (Self, mpsc::Receiver<PostedBody>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self { sender, database: database.to_owned(), metrics }, receiver)
    }

    /// Returns the counters by name, for display.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); 6] {
        self.metrics.counts()
    }

    /// Accepts a body: one message, or a list of messages. Returns when the shared tier has applied
    /// it.
    ///
    /// # Errors
    /// [`InboxError`]; then the body may be partly applied, and has to be posted again.
    pub async fn post(&self, body: &[u8]) -> Result<(), InboxError> {
        let messages = parser::parse(body, &self.database).map_err(|problem| {
            self.metrics.unreadable.inc();
            InboxError::Unreadable(problem)
        })?;
        let count = messages.len() as u64;
        let (applied, response) = oneshot::channel();
        let posted = async {
            self.sender.send(PostedBody { messages, applied }).await.ok()?;
            response.await.ok()
        };
        match timeout(APPLY_TIMEOUT, posted).await {
            Ok(Some(())) => {
                self.metrics.posts.inc();
                self.metrics.messages.inc_by(count);
                Ok(())
            }
            _ => {
                self.metrics.rejected.inc();
                Err(InboxError::NotReady)
            }
        }
    }
}
