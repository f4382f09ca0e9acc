//! Posted change events: from the admin listener to the feed.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Clock;
use control::{EventEndpoint, EventError, EventSink, WebhookSecret};
use feed::{Inbox, Refused};

/// The endpoint of a source's events, before the admin listener takes it.
#[derive(Clone)]
pub(super) struct PostedEvents {
    pub(super) source: String,
    pub(super) secret: WebhookSecret,
    pub(super) inbox: Inbox,
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
            counts: Box::new(move || counted.shown().into()),
        }
    }
}

struct InboxSink(Inbox);

#[async_trait]
impl EventSink for InboxSink {
    async fn take(&self, body: &[u8]) -> Result<(), EventError> {
        self.0.post(body).await.map_err(|refused| match refused {
            Refused::Unreadable(what) => EventError::Unreadable(what),
            Refused::NotNow => EventError::NotNow(refused.to_string()),
        })
    }
}
