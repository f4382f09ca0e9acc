use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// The counters of events that are posted. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct DebeziumMetrics {
    pub(super) posts: Counter,
    pub(super) messages: Counter,
    pub(super) repeated: Counter,
    pub(super) refused: Counter,
    pub(super) unreadable: Counter,
    pub(super) breaks: Counter,
}

impl DebeziumMetrics {
    /// Makes them visible in `registry`.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let m = &metrics;
        let mut register =
            |name, help, counter: &Counter| registry.register(name, help, counter.clone());
        register("tidegate_events_posts", "Bodies with events that were applied", &m.posts);
        register("tidegate_events_messages", "Messages in them", &m.messages);
        register("tidegate_events_repeated", "Transactions that were told again", &m.repeated);
        register(
            "tidegate_events_refused",
            "Bodies that were refused since another node takes events, or this one was not ready",
            &m.refused,
        );
        register(
            "tidegate_events_unreadable",
            "Bodies that could not be read, and were refused",
            &m.unreadable,
        );
        register(
            "tidegate_events_breaks",
            "Times that something was missing between two messages; each voids what was cached",
            &m.breaks,
        );
        metrics
    }

    pub(super) fn shown(&self) -> [(&'static str, u64); 6] {
        [
            ("posts", self.posts.get()),
            ("messages", self.messages.get()),
            ("repeated", self.repeated.get()),
            ("refused", self.refused.get()),
            ("unreadable", self.unreadable.get()),
            ("breaks", self.breaks.get()),
        ]
    }
}
