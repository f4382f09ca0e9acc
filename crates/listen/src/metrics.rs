//! Metrics of listeners.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Connections that were closed because their client had all that it may have, by listener.
const REFUSED: &str = "tidegate_listener_refused_connections";
/// Attempts to accept a connection that failed for lack of file descriptors, by listener.
const STARVED: &str = "tidegate_listener_descriptors_missing";

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ListenerLabel {
    listener: &'static str,
}

/// The metrics of one listener.
#[derive(Clone, Debug, Default)]
pub struct ListenerMetrics {
    pub(crate) refused: Counter,
    pub(crate) starved: Counter,
}

impl ListenerMetrics {
    /// Registers the metrics of the listeners with these names.
    #[must_use]
    pub fn register<const N: usize>(
        names: [&'static str; N],
        registry: &mut Registry,
    ) -> [Self; N] {
        let (refused, starved) = (Family::default(), Family::default());
        let metrics = names.map(|listener| {
            let label = ListenerLabel { listener };
            Self {
                refused: Family::get_or_create_owned(&refused, &label),
                starved: Family::get_or_create_owned(&starved, &label),
            }
        });
        let help = "Connections closed because their client had all that it may have, by listener";
        registry.register(REFUSED, help, refused);
        let help = "Failures to accept a connection for lack of file descriptors, by listener";
        registry.register(STARVED, help, starved);
        metrics
    }
}
