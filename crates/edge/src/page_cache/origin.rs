//! The upstream as an origin of the engine: one load of a page for all waiters.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache::{Content, Loaded, Origin, OriginError, OriginErrorKind, Party, Value};
use coherence::{Clock, Mono};
use contract::{Evidence, Key, Tag};
use http::header::{DATE, TRANSFER_ENCODING};
use http::response;
use parking_lot::Mutex;

use super::key;
use super::recent_pages::RecentPages;
use super::storability::{self, RequestContext, Storable};
use super::stored_head::{self, StoredMetadata};
use crate::admission::budget::client_at;
use crate::admission::upstream_gate::{NAME, UpstreamGate};
use crate::http::body::Stream;
use crate::http::collect::{Collected, collect};
use crate::http::encodings::Encodings;
use crate::http::not_stored::NotStored;
use crate::http::{date, forwarding, shared_headers};
use crate::settings::options::GatewayOptions;
use crate::settings::routes::Route;
use crate::telemetry::metrics::Metrics;
use crate::upstream::error::UpstreamError;
use crate::upstream::request::{Audience, ForwardRequest};

/// How long the gateway remembers that a page is not explicitly shared.
const COOKIE_PAGE_TTL: Duration = Duration::from_secs(10);

/// How long the gateway remembers that a page may be shared.
const SHARED_PAGE_TTL: Duration = Duration::from_secs(3600);

/// The parts that all page loads share.
pub(crate) struct PageOrigin {
    gate: Arc<UpstreamGate>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    cookie_pages: RecentPages,
    /// The pages whose response to one client has shown that others may share them.
    shared_pages: RecentPages,
    max_object_bytes: u64,
    max_tags: usize,
}

impl PageOrigin {
    pub(crate) fn new(
        options: &GatewayOptions,
        gate: Arc<UpstreamGate>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            gate,
            metrics,
            clock,
            cookie_pages: RecentPages::new(4_096, COOKIE_PAGE_TTL),
            shared_pages: RecentPages::new(65_536, SHARED_PAGE_TTL),
            max_object_bytes: options.max_object_bytes,
            max_tags: options.max_tags,
        }
    }

    /// Whether a request with cookies has to read the page from the upstream.
    pub(crate) fn is_cookie_page(&self, key: &Key, now: Mono) -> bool {
        self.cookie_pages.contains(key, now)
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

    /// Keeps a response for this request's client. It counts as open from here on.
    fn keep_private(&self, head: response::Parts, mut body: Stream, reason: Option<NotStored>) {
        let class = self.route.policy.rules.priority;
        let slot = self.origin.gate.response_slot(&self.request, class);
        *self.private.lock() = Some(slot.map(|slot| {
            body.hold(slot);
            PrivateResponse { head, body, reason }
        }));
    }

    fn failed(&self, err: UpstreamError) -> OriginError {
        let kind = match &err {
            UpstreamError::Connect(_) | UpstreamError::ConnectTimeout(_) => {
                OriginErrorKind::Unavailable
            }
            UpstreamError::ResponseTimeout(_) | UpstreamError::TotalTimeout(_) => {
                OriginErrorKind::Timeout
            }
            // Of this page, not of the upstream.
            UpstreamError::Closed
            | UpstreamError::InvalidHttp(_)
            | UpstreamError::Incomplete(_)
            | UpstreamError::PageFails(_) => OriginErrorKind::Broken,
            UpstreamError::Overloaded(_)
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
    fn uncacheable(
        &self,
        key: &Key,
        head: response::Parts,
        body: Stream,
        reason: NotStored,
        is_unshared: bool,
    ) -> Result<Loaded, OriginError> {
        self.origin.metrics.record_not_stored(reason);
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
        Ok(Loaded {
            content: Content::Uncacheable,
            tags: Vec::new(),
            ttl: None,
            seen: None,
            replayed: None,
            log: None,
            behind: Duration::ZERO,
        })
    }

    fn storability(&self, head: &response::Parts, body: &Stream) -> Result<Storable, NotStored> {
        let context = RequestContext {
            keyed: &self.route.key_headers,
            cookies: forwarding::has_cookies(&self.request.headers),
            now_s: self.origin.clock.wall_ms() / 1_000,
            max_tags: self.origin.max_tags,
        };
        let storable = storability::evaluate(head.status, &head.headers, context)?;
        let length = body.size_hint().exact();
        if length.is_none() && !head.headers.contains_key(TRANSFER_ENCODING) {
            return Err(NotStored::Unframed);
        }
        if length.is_some_and(|length| length > self.origin.max_object_bytes) {
            return Err(NotStored::TooLarge);
        }
        Ok(storable)
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

    /// The entry of a storable response. `None`: a header exceeds the encoding of stored heads.
    fn entry(&self, mut head: response::Parts, body: Bytes, storable: Storable) -> Option<Loaded> {
        forwarding::rewrite_response_headers(&mut head.headers, head.version);
        forwarding::strip_response_headers(&mut head.headers);
        if !head.headers.contains_key(DATE) {
            head.headers.insert(DATE, date::now(self.origin.clock.as_ref()));
        }
        // A cache between the upstream and here may have answered from before a commit.
        let evidence = match storable.age_s {
            0 => self.route.evidence.of(&storable.tags),
            _ => Evidence::Age,
        };
        let is_by_log = evidence == Evidence::Log;
        let metadata = StoredMetadata {
            status: head.status,
            shared: storable.shared,
            revalidate: storable.revalidate,
            age_s: storable.age_s,
            lifetime_s: u32::try_from(storable.lifetime.as_secs()).unwrap_or(u32::MAX),
            proven_by: is_by_log.then(|| self.route.evidence.digest()),
        };
        let head = stored_head::encode(metadata, &head.headers)?;
        Some(Loaded {
            content: Content::Present(Value { head, body }),
            tags: self.tags(storable.tags),
            ttl: Some(self.route.ttl(storable.lifetime, (!is_by_log).then(|| metadata.age()))),
            seen: None,
            replayed: None,
            log: None,
            behind: Duration::ZERO,
        })
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

    async fn load(&self, key: &Key, _: &str) -> Result<Loaded, OriginError> {
        let gate = &self.origin.gate;
        let page = gate.enter_page(&self.route, &self.request).map_err(|err| self.failed(err))?;
        let audience = self.audience(key);
        let is_unshared = matches!(audience, Audience::Unshared(_));
        let sent = gate.load(&self.route, &self.request, audience).await;
        let (head, body) = sent.map_err(|err| {
            // A failure to connect says nothing about the page.
            if !matches!(err, UpstreamError::Connect(_) | UpstreamError::ConnectTimeout(_)) {
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
        let loaded = self.receive(key, head, body, is_unshared).await;
        let is_broken = loaded.as_ref().is_err_and(|err| err.kind == OriginErrorKind::Broken);
        gate.leave_page(&page, !is_broken);
        loaded
    }
}

impl PageLoad {
    /// Receives the body of a storable response; any other stays with the client of this load.
    async fn receive(
        &self,
        key: &Key,
        head: response::Parts,
        mut body: Stream,
        is_unshared: bool,
    ) -> Result<Loaded, OriginError> {
        let uncacheable =
            |head, body, reason| self.uncacheable(key, head, body, reason, is_unshared);
        let storable = match self.storability(&head, &body) {
            Ok(storable) => storable,
            Err(reason) => return uncacheable(head, body, reason),
        };
        if is_unshared {
            self.origin.shared_pages.insert(key, self.origin.clock.mono());
            return uncacheable(head, body, NotStored::Headers);
        }
        match collect(&mut body, self.origin.max_object_bytes).await {
            Collected::Complete(bytes) => match self.entry(head.clone(), bytes.clone(), storable) {
                Some(loaded) => Ok(loaded),
                None => {
                    body.unread(vec![bytes]);
                    uncacheable(head, body, NotStored::TooLarge)
                }
            },
            Collected::TooLarge(parts) => {
                body.unread(parts);
                uncacheable(head, body, NotStored::TooLarge)
            }
            Collected::Incomplete(text) => {
                let err = UpstreamError::Incomplete(text);
                self.origin.metrics.record_upstream_error(err.proxy_error());
                Err(self.failed(err))
            }
        }
    }
}
