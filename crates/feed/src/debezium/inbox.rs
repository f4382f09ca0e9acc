//! The queue of posted bodies that wait to be applied.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::metrics::DebeziumMetrics;

/// Bodies that may wait. Debezium posts one at a time.
const CAPACITY: usize = 16;

/// How long applying a body may take: less than Debezium's own timeout.
const APPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Accepts posted bodies. Clones lead to the same feed.
#[derive(Clone)]
pub struct EventInbox {
    queue: Arc<dyn Queue>,
    metrics: DebeziumMetrics,
}

/// A parsed body, and the sender's acknowledgement.
pub(crate) struct PostedBody<M> {
    pub(crate) messages: Vec<M>,
    /// Sent when the body is applied; dropped if it is rejected.
    pub(crate) applied: oneshot::Sender<()>,
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

/// The way to one feed.
#[async_trait]
trait Queue: Send + Sync {
    /// Returns the number of messages when the shared tier has applied them, or `None` if they are not applied.
    async fn post(&self, body: &[u8]) -> Result<Option<u64>, InboxError>;
}

struct ParsingQueue<M, P> {
    sender: mpsc::Sender<PostedBody<M>>,
    parse: P,
}

#[async_trait]
impl<M, P> Queue for ParsingQueue<M, P>
where
    M: Send,
    P: Fn(&[u8]) -> Result<Vec<M>, String> + Send + Sync,
{
    async fn post(&self, body: &[u8]) -> Result<Option<u64>, InboxError> {
        let messages = (self.parse)(body).map_err(InboxError::Unreadable)?;
        let count = messages.len() as u64;
        let (applied, response) = oneshot::channel();
        let posted = async {
            self.sender.send(PostedBody { messages, applied }).await.ok()?;
            response.await.ok()
        };
        Ok(timeout(APPLY_TIMEOUT, posted).await.ok().flatten().map(|()| count))
    }
}

impl EventInbox {
    /// Returns an inbox whose bodies are parsed by `parse`, and the receiver of the parsed bodies.
    pub(crate) fn new<M: Send + 'static>(
        parse: impl Fn(&[u8]) -> Result<Vec<M>, String> + Send + Sync + 'static,
        metrics: DebeziumMetrics,
    ) -> (Self, mpsc::Receiver<PostedBody<M>>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self { queue: Arc::new(ParsingQueue { sender, parse }), metrics }, receiver)
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
        match self.queue.post(body).await {
            Ok(Some(messages)) => {
                self.metrics.posts.inc();
                self.metrics.messages.inc_by(messages);
                Ok(())
            }
            Ok(None) => {
                self.metrics.rejected.inc();
                Err(InboxError::NotReady)
            }
            Err(err) => {
                self.metrics.unreadable.inc();
                Err(err)
            }
        }
    }
}

/// The acknowledgements that senders of bodies wait for.
#[derive(Default)]
pub(crate) struct Acknowledgements {
    /// Of bodies that are not in a batch yet.
    pending: Vec<oneshot::Sender<()>>,
    /// Of bodies in the last batch.
    delivered: Vec<oneshot::Sender<()>>,
}

impl Acknowledgements {
    /// Keeps the acknowledgement of a body that was handled.
    pub(crate) fn hold(&mut self, applied: oneshot::Sender<()>) {
        self.pending.push(applied);
    }

    /// Records that a batch contains the effect of all bodies so far.
    pub(crate) fn deliver(&mut self) {
        self.delivered.append(&mut self.pending);
    }

    /// Acknowledges the bodies of the last batch.
    pub(crate) fn send(&mut self) {
        for applied in self.delivered.drain(..) {
            // A sender that no longer waits posts the body again.
            let _ = applied.send(());
        }
    }
}
