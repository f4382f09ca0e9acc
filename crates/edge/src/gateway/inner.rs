//! The gateway and its parts.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use cache::{Answer, Content, Engine, Tier};
use coherence::{CausalToken, CausalTokens, Clock, Mono, Reached};
use contract::{Evidence, Key};
use http::{Method, Response};
use prometheus_client::registry::Registry;

use crate::admission::upstream_gate::UpstreamGate;
use crate::http::body::Body;
use crate::http::client::Client;
use crate::http::pace::PaceLimits;
use crate::http::request_id::RequestIds;
use crate::http::ryw_token::MalformedToken;
use crate::http::target::Scheme;
use crate::page_audit::{ChangedTables, PageAuditor, PageSampler};
use crate::page_cache::key;
use crate::page_cache::origin::PageOrigin;
use crate::page_cache::stored_head;
use crate::settings::options::{GatewayOptions, OptionsError};
use crate::settings::routes::Route;
use crate::telemetry::access_log;
use crate::telemetry::metrics::{Metrics, Outcome};

/// The HTTP gateway. Clones share all state.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) inner: Arc<GatewayInner>,
}

/// The tokens of a request.
#[derive(Debug, Default)]
pub(super) struct LogTokens {
    /// The token for the log of the main source.
    pub(super) main: Option<CausalToken>,
    /// Those for other logs, with the names of their sources.
    pub(super) others: Vec<(String, CausalToken)>,
}

/// The state that all requests share.
pub(crate) struct GatewayInner {
    pub(crate) options: GatewayOptions,
    pub(crate) metrics: Arc<Metrics>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) engine: Engine,
    /// The engines of the other sources, whose logs may raise tags of pages too.
    pub(super) others: BTreeMap<String, Engine>,
    pub(super) gate: Arc<UpstreamGate>,
    pub(super) pages: Arc<PageOrigin>,
    pub(super) ids: RequestIds,
    /// Whether a neighbour that is not trusted has described a client.
    pub(super) has_seen_unknown_proxy: AtomicBool,
    /// Set where pages are audited.
    pub(super) page_sampler: OnceLock<Arc<PageSampler>>,
}

impl Gateway {
    /// Creates a gateway for `options.upstream` that stores pages in `engine`.
    ///
    /// # Errors
    /// [`OptionsError`] names the first invalid option.
    pub fn new(
        options: GatewayOptions,
        engine: Engine,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OptionsError> {
        Self::with_others(options, engine, BTreeMap::new(), Arc::new(metrics), clock)
    }

    /// As [`new`](Self::new), where `engine` follows the log of the main source, and `others` those of the other
    /// sources. The `metrics` may be those of a gateway that this one replaces.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_others(
        options: GatewayOptions,
        engine: Engine,
        others: BTreeMap<String, Engine>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OptionsError> {
        options.validate()?;
        let queue_timeout = options.upstream_limits.queue_timeout;
        let routes = options.routes.with_timeouts(options.timeouts, queue_timeout);
        let options = GatewayOptions { routes, ..options };
        let gate = UpstreamGate::new(&options, &engine, Arc::clone(&metrics), Arc::clone(&clock))?;
        let gate = Arc::new(gate);
        let (of_gate, of_metrics) = (Arc::clone(&gate), Arc::clone(&metrics));
        let pages =
            PageOrigin::new(&options, engine.clone(), of_gate, of_metrics, Arc::clone(&clock));
        let (pages, ids) = (Arc::new(pages), RequestIds::new());
        let page_sampler = OnceLock::new();
        let has_seen_unknown_proxy = AtomicBool::new(false);
        let inner = GatewayInner {
            options,
            metrics,
            clock,
            engine,
            others,
            gate,
            pages,
            ids,
            has_seen_unknown_proxy,
            page_sampler,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Creates the auditor of this gateway's pages; a gateway has one. `pages_per_second`: more than zero.
    /// `changed_tables`: the tables that a finding names as its likely cause.
    #[must_use]
    pub fn audit_pages(
        &self,
        pages_per_second: f64,
        changed_tables: ChangedTables,
        registry: &mut Registry,
    ) -> PageAuditor {
        let inner = &self.inner;
        let auditor = PageAuditor::new(
            pages_per_second,
            inner.engine.clone(),
            Arc::clone(&inner.gate),
            Arc::clone(&inner.clock),
            changed_tables,
            inner.options.pages.max_bytes,
            registry,
        );
        let _ = inner.page_sampler.set(Arc::clone(&auditor.sampler));
        auditor
    }

    /// Returns the time that requests in flight get to end after shutdown begins.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        self.inner.options.drain
    }

    /// Returns a reference that is dead once no clone of this gateway is left and its last request has been
    /// answered.
    #[must_use]
    pub fn usage(&self) -> Weak<dyn Any + Send + Sync> {
        let inner: Arc<dyn Any + Send + Sync> = Arc::clone(&self.inner) as _;
        Arc::downgrade(&inner)
    }

    /// Returns the keys under which a page may be stored: one per class of encodings. `target` is
    /// path and query. Empty if `host` or `target` is malformed.
    #[must_use]
    pub fn keys(scheme: Scheme, host: &str, target: &str) -> Vec<Key> {
        key::page_keys(scheme, host, target)
    }
}

impl GatewayInner {
    /// Counts and logs the response to `request`, its method and path.
    pub(super) fn record(
        &self,
        client: &Client,
        request: (&Method, &str),
        started: Mono,
        outcome: Outcome,
        response: &Response<Body>,
    ) {
        let took = self.clock.mono().since(started);
        self.metrics.record_response(outcome, response.status(), took);
        access_log::log(client.address, request, took, outcome, response);
    }

    /// The pace that clients have to keep.
    pub(crate) fn client_pace(&self) -> PaceLimits {
        let clients = &self.options.clients;
        PaceLimits { pause: clients.timeout, rate: clients.min_rate }
    }

    /// Returns the tokens of a request by their logs.
    pub(super) fn by_log(&self, tokens: &CausalTokens) -> LogTokens {
        let epoch = |engine: &Engine| engine.status().epoch;
        let main = epoch(&self.engine);
        let others: Vec<_> =
            self.others.iter().map(|(name, engine)| (name, epoch(engine))).collect();
        let of_others = others.iter().enumerate().filter_map(|(at, (name, epoch))| {
            let rest = others.iter().enumerate().filter(move |(other, _)| *other != at);
            let rest = rest.filter_map(|(_, (_, epoch))| *epoch).chain(main);
            Some(((*name).clone(), tokens.of(*epoch, rest)?))
        });
        let main_token = tokens.of(main, others.iter().filter_map(|(_, epoch)| *epoch));
        LogTokens { main: main_token, others: of_others.collect() }
    }

    /// Whether the load of an entry began late enough to include the write of the client's token.
    pub(super) fn has_write(&self, answer: &Answer, token: Option<CausalToken>) -> bool {
        token.is_none_or(|token| {
            token.reached(self.engine.status().epoch, answer.entry.tau) == Reached::Yes
        })
    }

    /// Whether an answer includes the writes of tokens for other logs.
    pub(super) fn has_other_writes(
        &self,
        key: &Key,
        route: &Route,
        answer: &Answer,
        tokens: &[(String, CausalToken)],
    ) -> bool {
        if tokens.is_empty() {
            return true;
        }
        let Content::Present(value) = answer.entry.content() else { return true };
        let proven_by = stored_head::decode(&value.head, 0).and_then(|(head, _)| head.proven_by);
        match (route.evidence_under(proven_by), &route.other_logs) {
            (Evidence::Log, Some(logs)) => logs.has_writes(key, &answer.entry.to_entry(), tokens),
            // By its tags it shows nothing of the other databases.
            (Evidence::Log, None) => true,
            // A page that its age alone proves may show anything, so only this request's own load will do.
            _ => answer.proof().tier == Tier::Origin && !answer.proof().collapsed,
        }
    }

    /// Waits until this process has applied the other logs up to the tokens, for a limited time.
    pub(super) async fn wait_reached(&self, tokens: &[(String, CausalToken)]) {
        for (name, token) in tokens {
            if let Some(engine) = self.others.get(name) {
                engine.wait_reached(*token).await;
            }
        }
    }

    /// A malformed token does not fail a request; it is counted and ignored.
    pub(super) fn ignore_token(&self, err: &MalformedToken) -> Option<CausalTokens> {
        tracing::debug!(error = %err.0, "malformed token ignored");
        self.metrics.malformed_tokens.inc();
        None
    }
}
