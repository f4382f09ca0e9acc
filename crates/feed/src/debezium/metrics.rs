//! Metrics of posted events.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// The counters of posted events. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct DebeziumMetrics {
    pub(crate) posts: Counter,
    pub(crate) messages: Counter,
    pub(crate) repeated: Counter,
    pub(crate) rejected: Counter,
    pub(crate) unreadable: Counter,
    pub(crate) gaps: Counter,
}

impl DebeziumMetrics {
    /// Registers the counters in `registry`.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let m = &metrics;
        let mut register =
            |name, help, counter: &Counter| registry.register(name, help, counter.clone());
        register("tidegate_events_posts", "Event bodies that were applied", &m.posts);
        register("tidegate_events_messages", "Messages in applied event bodies", &m.messages);
        register("tidegate_events_repeated", "Transactions that were delivered again", &m.repeated);
        register(
            "tidegate_events_refused",
            "Event bodies that were rejected because another node takes events, or this one was not ready",
            &m.rejected,
        );
        register(
            "tidegate_events_unreadable",
            "Event bodies that could not be parsed and were rejected",
            &m.unreadable,
        );
        register(
            "tidegate_events_breaks",
            "Gaps between two messages; each voids all cached entries",
            &m.gaps,
        );
        metrics
    }

    pub(super) fn counts(&self) -> [(&'static str, u64); 6] {
        [
            ("posts", self.posts.get()),
            ("messages", self.messages.get()),
            ("repeated", self.repeated.get()),
            ("refused", self.rejected.get()),
            ("unreadable", self.unreadable.get()),
            ("breaks", self.gaps.get()),
        ]
    }
}
