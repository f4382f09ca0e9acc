//! Posted change events, in place of a log that is read.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Clock;
use thiserror::Error;

use crate::webhook::WebhookSecret;

/// The endpoint of one source's change events.
pub struct EventEndpoint {
    /// The source's name.
    pub source: String,
    /// The secret that authenticates the sender.
    pub secret: WebhookSecret,
    /// Wall time, for the age of signatures.
    pub clock: Arc<dyn Clock>,
    /// The receiver of the events.
    pub sink: Arc<dyn EventSink>,
    /// Reads the counters for `/api/v1/status`: names and values.
    pub counts: Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>,
}

/// Applies posted events.
#[async_trait]
pub trait EventSink: Send + Sync + 'static {
    /// Applies a body; returns when the shared tier has applied it.
    ///
    /// # Errors
    /// [`EventError`].
    async fn take(&self, body: &[u8]) -> Result<(), EventError>;
}

/// Why a body was not applied.
#[derive(Clone, Debug, Error)]
pub enum EventError {
    /// The body can't be parsed; the text says where, and how to correct it.
    #[error("{0}")]
    Unreadable(String),
    /// Another node takes events, or this one is not ready yet; the sender should try again.
    #[error("{0}")]
    NotNow(String),
}
