//! Posted change events: from the admin listener to the feed.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Clock;
use control::{EventEndpoint, EventError, EventSink, WebhookSecret};
use feed::{EventInbox, InboxError};

/// The endpoint of a source's events, before the admin listener takes it.
#[derive(Clone)]
pub(super) struct PostedEvents {
    pub(super) source: String,
    pub(super) secret: WebhookSecret,
    pub(super) inbox: EventInbox,
}

impl PostedEvents {
    pub(super) fn into_endpoint(self, clock: &Arc<dyn Clock>) -> EventEndpoint {
        let Self { source, secret, inbox } = self;
        let counted = inbox.clone();
        EventEndpoint {
            source,
            secret,
            clock: Arc::clone(clock),
            sink: Arc::new(InboxSink(inbox)),
            counts: Box::new(move || counted.counts().into()),
        }
    }
}

struct InboxSink(EventInbox);

#[async_trait]
impl EventSink for InboxSink {
    async fn take(&self, body: &[u8]) -> Result<(), EventError> {
        self.0.post(body).await.map_err(|err| match err {
            InboxError::Unreadable(text) => EventError::Unreadable(text),
            InboxError::NotReady => EventError::NotNow(err.to_string()),
        })
    }
}
