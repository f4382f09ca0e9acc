//! The upstream as an origin of the engine: one load, for all who wait for the page.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cache::{Content, Loaded, Origin, OriginError, OriginErrorKind, Value};
use coherence::Clock;
use contract::Key;
use http::header::{DATE, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode, response};
use parking_lot::Mutex;

use crate::asked::{Asked, Name};
use crate::body::Stream;
use crate::forward;
use crate::gateway::Shared;
use crate::head::{self, Facts};
use crate::key::Encodings;
use crate::routes::Route;
use crate::storable::{self, Circumstances, Reason, Storable};
use crate::upstream::{RequestBody, UpstreamError};

/// An answer that goes to the one who asked and to nobody else.
#[derive(Debug)]
pub(crate) struct Private {
    pub(crate) head: response::Parts,
    pub(crate) body: Stream,
    /// Why it is not stored; `None`: the upstream failed with it.
    pub(crate) reason: Option<Reason>,
}

/// One request's wish to have its page loaded.
///
/// What turns out to be for its own client only is kept here and not given to the engine.
pub(crate) struct PageLoad {
    gateway: Arc<Shared>,
    asked: Arc<Asked>,
    encodings: Encodings,
    route: Route,
    slot: Mutex<Option<Result<Private, UpstreamError>>>,
}

impl PageLoad {
    pub(crate) fn new(
        gateway: Arc<Shared>,
        asked: Arc<Asked>,
        encodings: Encodings,
        route: Route,
    ) -> Self {
        Self { gateway, asked, encodings, route, slot: Mutex::new(None) }
    }

    /// What this request's own load got, if it was not for all.
    pub(crate) fn take(&self) -> Option<Result<Private, UpstreamError>> {
        self.slot.lock().take()
    }

    fn keep(&self, head: response::Parts, body: Stream, reason: Option<Reason>) {
        *self.slot.lock() = Some(Ok(Private { head, body, reason }));
    }

    fn failed(&self, err: UpstreamError) -> OriginError {
        let kind = match &err {
            UpstreamError::Busy => OriginErrorKind::Refused,
            UpstreamError::ConnectTimeout(_) | UpstreamError::NoAnswer(_) => {
                OriginErrorKind::Timeout
            }
            UpstreamError::Connect(_) | UpstreamError::Closed => OriginErrorKind::Unavailable,
            UpstreamError::Rubbish(_) | UpstreamError::Incomplete(_) => OriginErrorKind::Broken,
            UpstreamError::ClientBody => OriginErrorKind::BadRequest,
        };
        let message = err.to_string();
        *self.slot.lock() = Some(Err(err));
        OriginError { kind, message }
    }

    /// Not for the store: remembered as such, and left for the client whose load this was.
    fn uncacheable(
        &self,
        key: &Key,
        head: response::Parts,
        body: Stream,
        reason: Reason,
    ) -> Result<Loaded, OriginError> {
        self.gateway.metrics.not_stored(reason);
        self.keep(head, body, Some(reason));
        if reason == Reason::Cookie {
            // Others may share this page: it is only this client that can't load it for them.
            self.gateway.cookie_pages.remember(key, self.gateway.clock.mono());
            let message = "not for a client with cookies to load".to_owned();
            return Err(OriginError { kind: OriginErrorKind::BadRequest, message });
        }
        Ok(Loaded {
            content: Content::Uncacheable,
            tags: Vec::new(),
            ttl: None,
            seen: None,
            replayed: None,
            behind: Duration::ZERO,
        })
    }

    fn judge(&self, head: &response::Parts, body: &Stream) -> Result<Storable, Reason> {
        let circumstances = Circumstances {
            cookies: forward::has_cookies(&self.asked.headers),
            now_s: self.gateway.clock.wall_ms() / 1_000,
            max_tags: self.gateway.options.max_tags,
        };
        let storable = storable::judge(head.status, &head.headers, circumstances)?;
        let length = body.size_hint().exact();
        if length.is_none() && !head.headers.contains_key(TRANSFER_ENCODING) {
            return Err(Reason::Unframed);
        }
        if length.is_some_and(|length| length > self.gateway.options.max_object_bytes) {
            return Err(Reason::TooLarge);
        }
        Ok(storable)
    }

    fn stored(&self, mut head: response::Parts, body: Bytes, storable: Storable) -> Option<Loaded> {
        forward::to_client(&mut head.headers, head.version);
        forward::impersonal_answer(&mut head.headers);
        if !head.headers.contains_key(DATE) {
            head.headers.insert(DATE, date(self.gateway.clock.as_ref()));
        }
        let facts = Facts {
            status: head.status,
            shared: storable.shared,
            revalidate: storable.revalidate,
            age_s: storable.age,
            lifetime_s: u32::try_from(storable.lifetime.as_secs()).unwrap_or(u32::MAX),
        };
        let head = head::write(facts, &head.headers)?;
        Some(Loaded {
            content: Content::Present(Value { head, body }),
            tags: storable.tags,
            ttl: Some(self.route.ttl(storable.lifetime)),
            seen: None,
            replayed: None,
            behind: Duration::ZERO,
        })
    }
}

#[async_trait]
impl Origin for PageLoad {
    fn name(&self) -> &str {
        "upstream"
    }

    /// As many as go straight through: private pages are loaded one by one, and their clients are
    /// no worse off for having been looked up first.
    fn concurrency(&self) -> Option<usize> {
        Some(self.gateway.options.max_upstream_requests)
    }

    async fn load(&self, key: &Key, _: &str) -> Result<Loaded, OriginError> {
        let upstream = &self.gateway.upstream;
        let request = self.gateway.for_upstream(&self.asked, Name::Everybody(self.encodings));
        let sent = upstream.send(request, RequestBody::none()).await;
        let (head, mut body) = sent.map_err(|err| self.failed(err))?;
        if head.status.is_server_error() {
            // Its own client sees what the upstream said; to the engine it is a failure, which is
            // never stored and may be covered by an older page where the route says so.
            let kind = match head.status {
                StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT => OriginErrorKind::Unavailable,
                _ => OriginErrorKind::Broken,
            };
            let message = format!("the upstream answered {}", head.status.as_u16());
            self.keep(head, body, None);
            return Err(OriginError { kind, message });
        }
        let storable = match self.judge(&head, &body) {
            Ok(storable) => storable,
            Err(reason) => return self.uncacheable(key, head, body, reason),
        };
        match collect(&mut body, self.gateway.options.max_object_bytes).await {
            Collected::Whole(bytes) => match self.stored(head.clone(), bytes.clone(), storable) {
                Some(loaded) => Ok(loaded),
                None => {
                    body.unread(vec![bytes]);
                    self.uncacheable(key, head, body, Reason::TooLarge)
                }
            },
            Collected::Larger(parts) => {
                body.unread(parts);
                self.uncacheable(key, head, body, Reason::TooLarge)
            }
            Collected::Broken(text) => {
                let err = UpstreamError::Incomplete(text);
                self.gateway.metrics.upstream_failed(err.proxy_error());
                Err(self.failed(err))
            }
        }
    }
}

pub(crate) enum Collected {
    Whole(Bytes),
    /// More than may be stored; so much was read.
    Larger(Vec<Bytes>),
    Broken(String),
}

pub(crate) async fn collect(body: &mut Stream, max_bytes: u64) -> Collected {
    let mut parts: Vec<Bytes> = Vec::new();
    let mut size = 0_u64;
    while let Some(frame) = body.next().await {
        let part = match frame.map(http_body::Frame::into_data) {
            Ok(Ok(part)) => part,
            // Trailers may be dropped when a response is stored (RFC 9110 §6.5.1).
            Ok(Err(_)) => continue,
            Err(err) => return Collected::Broken(err.to_string()),
        };
        size += part.len() as u64;
        parts.push(part);
        if size > max_bytes {
            return Collected::Larger(parts);
        }
    }
    if parts.len() == 1
        && let Some(part) = parts.pop()
    {
        // A short body may be a slice of a large read buffer, which it would keep alive.
        return Collected::Whole(Bytes::copy_from_slice(&part));
    }
    let mut whole = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    Collected::Whole(whole.freeze())
}

fn date(clock: &dyn Clock) -> HeaderValue {
    let now = std::time::UNIX_EPOCH + Duration::from_millis(clock.wall_ms());
    HeaderValue::try_from(httpdate::fmt_http_date(now)).expect("a date is plain text")
}
