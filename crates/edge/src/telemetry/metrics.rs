//! The gateway's metrics.

use std::time::Duration;

use contract::Class;
use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::http::not_stored::NotStored;

/// Requests by status class (`2xx`) and result (`hit`, `stale`, `miss`, `pass`, `error`).
pub const REQUESTS: &str = "tidegate_gateway_requests";
/// Time from the head of a request to the head of its response, by result.
pub const LATENCY: &str = "tidegate_gateway_latency_seconds";
/// Body bytes sent to clients.
pub const SENT: &str = "tidegate_gateway_sent_bytes";
/// Open client connections without buffers: they wait for a request.
pub const PARKED: &str = "tidegate_gateway_parked_connections";
/// Open client connections.
pub const CONNECTIONS: &str = "tidegate_gateway_connections";
/// Connections closed because the first request head took too long.
pub const SLOW: &str = "tidegate_gateway_slow_connections";
/// Responses that were ended because the client read too slowly.
pub const SLOW_READERS: &str = "tidegate_gateway_slow_readers";
/// Malformed causal tokens, from clients and from the upstream.
pub const MALFORMED_TOKENS: &str = "tidegate_gateway_malformed_tokens";
/// Requests sent to the upstream.
pub const UPSTREAM_REQUESTS: &str = "tidegate_upstream_requests";
/// Requests without a usable response from the upstream, by RFC 9209 error type.
pub const UPSTREAM_ERRORS: &str = "tidegate_upstream_errors";
/// Messages that clients keep open, by kind (`responses`, `uploads`).
pub const OPEN: &str = "tidegate_gateway_open_messages";
/// The most messages that all clients together may keep open, by kind.
pub const OPEN_LIMIT: &str = "tidegate_gateway_open_messages_limit";
/// Requests refused because too many messages are open, by kind, limit (`client`, `total`) and priority class.
pub const OPEN_REFUSED: &str = "tidegate_gateway_open_messages_refused";
/// Connections closed because a trusted proxy sent no valid PROXY header.
pub const INVALID_PROXY_HEADERS: &str = "tidegate_gateway_invalid_proxy_headers";
/// Page responses that were not stored, by reason.
pub const NOT_STORED: &str = "tidegate_gateway_unstored_responses";
/// Loaded pages with a tag in another text than the log's, which no change raises.
pub const MISSPELT_TAGS: &str = "tidegate_gateway_misspelt_tags";

/// The result of a request in metrics and logs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// Served from a tier.
    Hit,
    /// Served from a tier outside the contract's budget, as its rule allows.
    Stale,
    /// Loaded through the engine.
    Miss,
    /// Passed to the upstream: not a page, or a page that may not be stored.
    Pass,
    /// An error response of the gateway.
    Error,
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Hit, Self::Stale, Self::Miss, Self::Pass, Self::Error];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Pass => "pass",
            Self::Error => "error",
        }
    }
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    class: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ErrorLabel {
    error: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RefusedLabels {
    kind: &'static str,
    limit: &'static str,
    class: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReasonLabel {
    reason: &'static str,
}

/// The metrics of one budget.
#[derive(Clone, Debug)]
pub(crate) struct BudgetMetrics {
    kind: &'static str,
    pub(crate) open: Gauge,
    limit: Gauge,
    refused: Family<RefusedLabels, Counter>,
}

impl BudgetMetrics {
    pub(crate) fn limit(&self, total: usize) {
        self.limit.set(i64::try_from(total).unwrap_or(i64::MAX));
    }

    pub(crate) fn refused(&self, limit: &'static str, class: Class) {
        let labels = RefusedLabels { kind: self.kind, limit, class: class.as_str() };
        self.refused.get_or_create(&labels).inc();
    }
}

/// The gateway's metrics. Counters on the hit path are resolved once, not per request.
#[derive(Debug)]
pub struct Metrics {
    requests: [[Counter; CLASSES.len()]; Outcome::ALL.len()],
    latency: [Histogram; Outcome::ALL.len()],
    not_stored: [Counter; NotStored::ALL.len()],
    upstream_errors: Family<ErrorLabel, Counter>,
    open: Family<KindLabel, Gauge>,
    open_limit: Family<KindLabel, Gauge>,
    open_refused: Family<RefusedLabels, Counter>,
    pub(crate) invalid_proxy_headers: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) connections: Gauge,
    pub(crate) parked_connections: Gauge,
    pub(crate) slow_connections: Counter,
    pub(crate) slow_readers: Counter,
    pub(crate) malformed_tokens: Counter,
    pub(crate) misspelt_tags: Counter,
    pub(crate) upstream_requests: Counter,
}

impl Metrics {
    /// Registers the gateway's metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let requests = Family::<RequestLabels, Counter>::default();
        let latency = Family::<ResultLabel, Histogram>::new_with_constructor(|| {
            Histogram::new([
                0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0,
            ])
        });
        let not_stored = Family::<ReasonLabel, Counter>::default();
        let metrics = Self {
            requests: Outcome::ALL.map(|outcome| {
                CLASSES.map(|class| {
                    requests.get_or_create_owned(&RequestLabels { class, result: outcome.as_str() })
                })
            }),
            latency: Outcome::ALL.map(|outcome| {
                latency.get_or_create_owned(&ResultLabel { result: outcome.as_str() })
            }),
            not_stored: NotStored::ALL.map(|reason| {
                not_stored.get_or_create_owned(&ReasonLabel { reason: reason.as_str() })
            }),
            upstream_errors: Family::default(),
            open: Family::default(),
            open_limit: Family::default(),
            open_refused: Family::default(),
            invalid_proxy_headers: Counter::default(),
            sent_bytes: Counter::default(),
            connections: Gauge::default(),
            parked_connections: Gauge::default(),
            slow_connections: Counter::default(),
            slow_readers: Counter::default(),
            malformed_tokens: Counter::default(),
            misspelt_tags: Counter::default(),
            upstream_requests: Counter::default(),
        };
        registry.register(
            REQUESTS,
            "Requests to the gateway, by status class and result",
            requests,
        );
        registry.register(LATENCY, "Time from request head to response head, by result", latency);
        registry.register(SENT, "Body bytes sent to clients", metrics.sent_bytes.clone());
        registry.register(CONNECTIONS, "Open client connections", metrics.connections.clone());
        registry.register(
            PARKED,
            "Open client connections that wait for a request, without buffers",
            metrics.parked_connections.clone(),
        );
        registry.register(
            SLOW,
            "Client connections closed because the request head took too long",
            metrics.slow_connections.clone(),
        );
        registry.register(
            SLOW_READERS,
            "Responses that were ended because the client read too slowly",
            metrics.slow_readers.clone(),
        );
        let malformed = metrics.malformed_tokens.clone();
        registry.register(
            MALFORMED_TOKENS,
            "Malformed causal tokens, from clients and from the upstream",
            malformed,
        );
        let upstream_requests = metrics.upstream_requests.clone();
        registry.register(UPSTREAM_REQUESTS, "Requests sent to the upstream", upstream_requests);
        let upstream_errors = metrics.upstream_errors.clone();
        registry.register(
            UPSTREAM_ERRORS,
            "Requests without a usable upstream response, by error type",
            upstream_errors,
        );
        registry.register(OPEN, "Messages that clients keep open, by kind", metrics.open.clone());
        registry.register(
            OPEN_LIMIT,
            "Most messages that all clients together may keep open, by kind",
            metrics.open_limit.clone(),
        );
        registry.register(
            OPEN_REFUSED,
            "Requests refused because too many messages are open, by kind, limit and class",
            metrics.open_refused.clone(),
        );
        registry.register(
            INVALID_PROXY_HEADERS,
            "Connections closed because a trusted proxy sent no valid PROXY header",
            metrics.invalid_proxy_headers.clone(),
        );
        registry.register(
            MISSPELT_TAGS,
            "Loaded pages with a tag in another text than the log's, which no change raises",
            metrics.misspelt_tags.clone(),
        );
        registry.register(NOT_STORED, "Page responses that were not stored, by reason", not_stored);
        metrics
    }

    pub(crate) fn record_response(&self, outcome: Outcome, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.requests[outcome as usize][class].inc();
        self.latency[outcome as usize].observe(took.as_secs_f64());
    }

    pub(crate) fn record_not_stored(&self, reason: NotStored) {
        self.not_stored[reason as usize].inc();
    }

    /// The metrics of the budget of one kind of messages.
    pub(crate) fn budget(&self, kind: &'static str) -> BudgetMetrics {
        let label = KindLabel { kind };
        BudgetMetrics {
            kind,
            open: self.open.get_or_create_owned(&label),
            limit: self.open_limit.get_or_create_owned(&label),
            refused: self.open_refused.clone(),
        }
    }

    pub(crate) fn record_upstream_error(&self, error: &'static str) {
        self.upstream_errors.get_or_create(&ErrorLabel { error }).inc();
    }
}
