//! Change events that are posted: from the admin listener to the feed.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Clock;
use control::{Events, EventsError, EventsIn, Secret};
use feed::{Inbox, Refused};

use crate::config::SourceEvents;

/// Who may post events of which source, and where they go.
#[derive(Clone)]
pub(super) struct Posted {
    source: String,
    secret: Secret,
    inbox: Inbox,
}

impl Posted {
    pub(super) fn new(source: &str, inbox: Inbox, events: &SourceEvents) -> Self {
        Self { source: source.to_owned(), secret: events.secret.clone(), inbox }
    }

    pub(super) fn into_admin(self, clock: &Arc<dyn Clock>) -> EventsIn {
        let Self { source, secret, inbox } = self;
        EventsIn { source, secret, clock: Arc::clone(clock), events: Arc::new(Door(inbox)) }
    }

    /// What has come of them, for `/api/v1/status`.
    pub(super) fn shown(&self) -> serde_json::Value {
        let mut shown = serde_json::Map::new();
        shown.insert("from".into(), "debezium".into());
        shown.extend(self.inbox.shown().map(|(name, count)| (name.to_owned(), count.into())));
        shown.into()
    }
}

struct Door(Inbox);

#[async_trait]
impl Events for Door {
    async fn take(&self, body: &[u8]) -> Result<(), EventsError> {
        self.0.post(body).await.map_err(|refused| match refused {
            Refused::Unreadable(what) => EventsError::Unreadable(what),
            Refused::NotNow => EventsError::NotNow(refused.to_string()),
        })
    }
}
