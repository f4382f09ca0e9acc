//! The upstream as an origin of the engine: one load of a page for all waiters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache::{
    Content, EarlyAnswer, Engine, Loaded, Origin, OriginError, OriginErrorKind, Party, TimedChange,
    Value,
};
use coherence::{Clock, Mono};
use contract::{Evidence, Key, Tag, TagTemplate};
use http::header::{DATE, TRANSFER_ENCODING};
use http::{Version, response};
use parking_lot::Mutex;

use super::key;
use super::other_logs::Positions;
use super::recent_pages::RecentPages;
use super::storability::{self, RequestContext, Storable};
use super::stored_head::{self, StoredMetadata};
use crate::admission::budget::client_at;
use crate::admission::upstream_gate::{NAME, UpstreamGate};
use crate::http::body::Stream;
use crate::http::changes_at::{self, ChangesAt};
use crate::http::encodings::Encodings;
use crate::http::not_stored::NotStored;
use crate::http::{date, forwarding, shared_headers};
use crate::settings::options::GatewayOptions;
use crate::settings::page_limits::PageLimits;
use crate::settings::routes::Route;
use crate::telemetry::metrics::Metrics;
use crate::upstream::error::UpstreamError;
use crate::upstream::request::{Audience, ForwardRequest};

/// The time after which one request tries whether a page is explicitly shared by now.
const COOKIE_PAGE_RETRY: Duration = Duration::from_secs(10);

/// How long the gateway remembers that a page may be shared.
const SHARED_PAGE_TTL: Duration = Duration::from_secs(3600);

/// The parts that all page loads share.
pub(crate) struct PageOrigin {
    /// For the clock of the pages' database.
    engine: Engine,
    gate: Arc<UpstreamGate>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    cookie_pages: RecentPages,
    /// The pages whose response to one client has shown that others may share them.
    shared_pages: RecentPages,
    limits: PageLimits,
    /// The templates for which a tag in another text has been logged.
    misspelt: Mutex<BTreeSet<String>>,
}

impl PageOrigin {
    pub(crate) fn new(
        options: &GatewayOptions,
        engine: Engine,
        gate: Arc<UpstreamGate>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            engine,
            gate,
            metrics,
            clock,
            cookie_pages: RecentPages::new(4_096, COOKIE_PAGE_RETRY),
            shared_pages: RecentPages::new(65_536, SHARED_PAGE_TTL),
            limits: options.pages,
            misspelt: Mutex::default(),
        }
    }

    /// Reports a tag that no change raises because of its text, in the log once for each template.
    fn report_misspelt(&self, tag: &Tag, template: &TagTemplate) {
        self.metrics.misspelt_tags.inc();
        if self.misspelt.lock().insert(template.as_str().to_owned()) {
            tracing::warn!(
                %tag,
                template = template.as_str(),
                "a page's tag has a value in another text than the log writes: no change of the row \
                 invalidates the page, and its bound is its age (docs/types.md lists the texts)"
            );
        }
    }

    /// Whether a request with cookies has to read the page from the upstream for itself.
    pub(crate) fn is_cookie_page(&self, key: &Key) -> bool {
        self.cookie_pages.claims(key, self.clock.mono())
    }

    /// Records that requests with cookies may share the page.
    pub(crate) fn is_shared(&self, key: &Key) {
        self.cookie_pages.remove(key);
    }

    /// Whether a page may be shared, as the response to one client has shown.
    pub(crate) fn is_shared_page(&self, key: &Key, now: Mono) -> bool {
        self.shared_pages.contains(key, now)
    }
}

/// A response that only the client of the load may receive.
#[derive(Debug)]
pub(crate) struct PrivateResponse {
    pub(crate) head: response::Parts,
    pub(crate) body: Stream,
    /// The reason why the response is not stored; `None`: it is a server error of the upstream.
    pub(crate) reason: Option<NotStored>,
}

/// The load of a page on behalf of one request.
///
/// A response for this request's client only stays here and does not go to the engine.
pub(crate) struct PageLoad {
    origin: Arc<PageOrigin>,
    request: Arc<ForwardRequest>,
    encodings: Encodings,
    route: Arc<Route>,
    private: Mutex<Option<Result<PrivateResponse, UpstreamError>>>,
}

impl PageLoad {
    pub(crate) fn new(
        origin: Arc<PageOrigin>,
        request: Arc<ForwardRequest>,
        encodings: Encodings,
        route: Arc<Route>,
    ) -> Self {
        Self { origin, request, encodings, route, private: Mutex::new(None) }
    }

    /// Takes the result of this request's own load, if it is for this client only.
    pub(crate) fn take_private(&self) -> Option<Result<PrivateResponse, UpstreamError>> {
        self.private.lock().take()
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.origin.limits.max_bytes
    }

    pub(super) fn record_upstream_error(&self, error: &'static str) {
        self.origin.metrics.record_upstream_error(error);
    }

    /// Counts a response as open until `body` ends. `None`: its client, or all, have too many.
    pub(super) fn open_response(&self, mut body: Stream) -> Option<Stream> {
        let class = self.route.policy.rules.priority;
        body.hold(self.origin.gate.response_slot(&self.request, class).ok()?);
        Some(body)
    }

    /// Keeps a response for this request's client. It counts as open from here on.
    fn keep_private(&self, head: response::Parts, mut body: Stream, reason: Option<NotStored>) {
        let class = self.route.policy.rules.priority;
        let slot = self.origin.gate.response_slot(&self.request, class);
        *self.private.lock() = Some(slot.map(|slot| {
            body.hold(slot);
            PrivateResponse { head, body, reason }
        }));
    }

    pub(super) fn failed(&self, err: UpstreamError) -> OriginError {
        let kind = match &err {
            UpstreamError::Connect(_)
            | UpstreamError::Tls(_)
            | UpstreamError::ConnectTimeout(_) => OriginErrorKind::Unavailable,
            UpstreamError::ResponseTimeout(_) | UpstreamError::TotalTimeout(_) => {
                OriginErrorKind::Timeout
            }
            // Of this page, not of the upstream.
            UpstreamError::Closed
            | UpstreamError::InvalidHttp(_)
            | UpstreamError::Incomplete(_)
            | UpstreamError::PageFails(_) => OriginErrorKind::Broken,
            UpstreamError::Overloaded(_)
            | UpstreamError::Descriptors
            | UpstreamError::Unreachable(_)
            | UpstreamError::ClientLimit(_)
            | UpstreamError::TotalLimit(_) => OriginErrorKind::Refused,
            UpstreamError::RequestBody => OriginErrorKind::BadRequest,
        };
        let message = err.to_string();
        *self.private.lock() = Some(Err(err));
        OriginError { kind, message }
    }

    /// The response stays with the client of this load; the engine records the page as uncacheable.
    pub(super) fn uncacheable(
        &self,
        key: &Key,
        head: response::Parts,
        body: Stream,
        reason: NotStored,
        is_unshared: bool,
    ) -> Result<Loaded, OriginError> {
        let not_stored = self.not_stored(reason);
        if self.lacks_headers(is_unshared, &head) {
            // Not this client's response either: it is asked for again, with all headers.
            self.origin.shared_pages.remove(key);
        } else {
            self.keep_private(head, body, Some(reason));
        }
        if matches!(reason, NotStored::Cookie | NotStored::Headers) {
            // Other requests may share this page; only this client's load is unsuitable.
            if reason == NotStored::Cookie {
                self.origin.cookie_pages.insert(key, self.origin.clock.mono());
            }
            let message = "the response to this request is for its client only".to_owned();
            return Err(OriginError { kind: OriginErrorKind::BadRequest, message });
        }
        Ok(not_stored)
    }

    /// The result of a load whose response may not be stored.
    pub(super) fn not_stored(&self, reason: NotStored) -> Loaded {
        self.origin.metrics.record_not_stored(reason);
        Loaded::of(Content::Uncacheable)
    }

    pub(super) fn storability(
        &self,
        head: &response::Parts,
        body: &Stream,
    ) -> Result<Storable, NotStored> {
        let context = RequestContext {
            keyed: &self.route.key_headers,
            cookies: forwarding::has_cookies(&self.request.headers),
            now_s: self.origin.clock.wall_ms() / 1_000,
            max_tags: self.origin.limits.max_tags,
        };
        let storable = storability::evaluate(head.status, &head.headers, context)?;
        let length = body.size_hint().exact();
        if length.is_none() && !head.headers.contains_key(TRANSFER_ENCODING) {
            return Err(NotStored::Unframed);
        }
        if length.is_some_and(|length| length > self.origin.limits.max_bytes) {
            return Err(NotStored::TooLarge);
        }
        Ok(storable)
    }

    /// Records that the response to this client has shown that others may share the page.
    pub(super) fn found_shared(&self, key: &Key) {
        self.origin.shared_pages.insert(key, self.origin.clock.mono());
    }

    /// The headers that the load sends. A request with headers of its own loads for its client only, until a
    /// response shows that others may share the page: then it is loaded without these headers.
    fn audience(&self, key: &Key) -> Audience<'_> {
        let (encodings, keyed) = (self.encodings, &*self.route.key_headers);
        let is_own = shared_headers::has_others(&self.request.headers, keyed)
            && !self.origin.is_shared_page(key, self.origin.clock.mono());
        if is_own { Audience::Unshared(encodings) } else { Audience::Shared { encodings, keyed } }
    }

    /// Whether a response that is not shared may differ from the one to the client's own headers.
    fn lacks_headers(&self, is_unshared: bool, head: &response::Parts) -> bool {
        let (request, keyed) = (&self.request.headers, &*self.route.key_headers);
        !is_unshared
            && (shared_headers::has_others(request, keyed)
                || shared_headers::varies_by_unsent(&head.headers, request, keyed))
    }

    /// The tags of an entry: those of the response, and one for all variants of a page that headers select.
    fn tags(&self, mut tags: Vec<Tag>) -> Vec<Tag> {
        if !self.route.key_headers.is_empty() {
            let request = &self.request;
            let host = request.host.to_str().unwrap_or_default();
            tags.push(key::variants_tag(request.scheme, host, request.target.as_str()));
        }
        tags
    }

    /// The entry of a storable response, without its body. `positions`: those of the other logs before the load.
    /// `None`: a header exceeds the encoding of stored heads.
    pub(super) fn entry(
        &self,
        head: &response::Parts,
        storable: Storable,
        positions: &Positions,
    ) -> Option<Loaded> {
        let mut headers = head.headers.clone();
        forwarding::rewrite_response_headers(&mut headers, head.version);
        forwarding::strip_response_headers(&mut headers);
        if !headers.contains_key(DATE) {
            headers.insert(DATE, date::now(self.origin.clock.as_ref()));
        }
        if let Some(at) = storable.changes_at.time() {
            let origin = &self.origin;
            let left = origin.engine.turn_at(at).earliest.since(origin.clock.mono()).as_secs();
            let now_s = origin.clock.wall_ms() / 1_000;
            changes_at::shorten_lifetimes(&mut headers, left, storable.age_s, now_s);
        }
        // A page that shows a value which changes by the clock, and does not say when, is proven by its age alone.
        let is_untimed = storable.changes_at == ChangesAt::Unstated
            && self.route.evidence.changes_by_clock(&storable.tags);
        // A cache between the upstream and here may have answered from before a commit.
        let evidence = match storable.age_s {
            _ if is_untimed => Evidence::Age,
            0 => self.route.evidence.of(&storable.tags),
            _ => Evidence::Age,
        };
        let joint = match (evidence, &self.route.other_logs) {
            (Evidence::Log, Some(logs)) => logs.joint(&storable.tags, positions),
            _ => Ok(None),
        };
        if evidence != Evidence::Log
            && let Some((tag, template)) = self.route.evidence.misspelt(&storable.tags)
        {
            self.origin.report_misspelt(tag, template);
        }
        let is_by_log = evidence == Evidence::Log && joint.is_ok();
        let metadata = StoredMetadata {
            status: head.status,
            shared: storable.shared,
            revalidate: storable.revalidate,
            age_s: storable.age_s,
            lifetime_s: u32::try_from(storable.lifetime.as_secs()).unwrap_or(u32::MAX),
            proven_by: is_by_log.then(|| self.route.evidence.digest()),
            joint: joint.unwrap_or_default(),
        };
        let head = stored_head::encode(metadata, &headers)?;
        let ttl = self.route.ttl(storable.lifetime, (!is_by_log).then(|| metadata.age()));
        let loaded = Loaded::of(Content::Present(Value { head, body: Bytes::new() }));
        let change = storable.changes_at.time().map(|at| TimedChange { at, shown: None });
        Some(Loaded { tags: self.tags(storable.tags), ttl: Some(ttl), change, ..loaded })
    }
}

#[async_trait]
impl Origin for PageLoad {
    fn name(&self) -> &str {
        NAME
    }

    fn party(&self) -> Option<Party> {
        Some(client_at(self.request.client.address))
    }

    async fn load(&self, key: &Key, id: &str) -> Result<Loaded, OriginError> {
        self.load_early(key, id, &EarlyAnswer::impossible()).await
    }

    fn takes_early(&self) -> bool {
        // A body of unknown size that breaks off is visible as broken only in chunks, which HTTP/1.0 lacks.
        self.request.version >= Version::HTTP_11
    }

    async fn load_early(
        &self,
        key: &Key,
        _: &str,
        early: &EarlyAnswer<'_>,
    ) -> Result<Loaded, OriginError> {
        let gate = &self.origin.gate;
        let page = gate.enter_page(&self.route, &self.request).map_err(|err| self.failed(err))?;
        let audience = self.audience(key);
        let is_unshared = matches!(audience, Audience::Unshared(_));
        // Before the request: the response has every commit that is visible by now.
        let other_logs = self.route.other_logs.as_ref();
        let positions = other_logs.map(|logs| logs.positions()).unwrap_or_default();
        let sent = gate.load(&self.route, &self.request, audience).await;
        let (head, body) = sent.map_err(|err| {
            // A failure to connect says nothing about the page.
            if !err.is_before_sending() {
                gate.leave_page(&page, false);
            }
            self.failed(err)
        })?;
        if head.status.is_server_error() {
            gate.leave_page(&page, false);
            // The client of this load receives the upstream's error response. For the engine it is a
            // failure of this page: never stored, and covered by a stale page where the route allows it.
            let status = head.status.as_u16();
            let message = format!("the upstream returned {status}");
            self.keep_private(head, body, None);
            return Err(OriginError { kind: OriginErrorKind::ServerError(status), message });
        }
        let loaded = self.receive(key, head, body, (is_unshared, &positions), early).await;
        if let (Some(logs), Ok(loaded)) = (other_logs, &loaded) {
            logs.store(key, loaded, &positions).await;
        }
        let is_broken = loaded.as_ref().is_err_and(|err| err.kind == OriginErrorKind::Broken);
        gate.leave_page(&page, !is_broken);
        loaded
    }
}
