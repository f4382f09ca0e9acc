//! An HTTP service as the origin of a contract.
//!
//! One `GET` per value, for all who wait for it. What the service says of its answer counts: one that
//! may not be shared is not stored, one that has an `Age` is so much older, and its `Surrogate-Key`
//! names what it was made from. An answer that is not whole, not of a wanted type or too large is no
//! value, whatever its status.

mod answer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::{Loaded, Origin, OriginError, OriginErrorKind};
use coherence::Clock;
use contract::{Contract, HeaderText, Key, Service};
use http::header::{ACCEPT, ACCEPT_ENCODING, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::sync::Semaphore;

use self::answer::{Judged, collected};
use crate::body::{Stream, TimedBody};
use crate::upstream::{RequestBody, UpstreamError, explain};

/// Answers of services that were not stored, by contract and reason.
pub const UNSTORED: &str = "tidegate_service_unstored_responses";

/// A connection that nobody has used for so long is closed: shorter than the keep-alive of common
/// servers, so that we are mostly the one to close first.
const IDLE: Duration = Duration::from_secs(4);

/// What services tell Prometheus. Clones are the same counters.
#[derive(Clone, Debug, Default)]
pub struct ServiceMetrics {
    unstored: Family<Labels, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    contract: String,
    reason: &'static str,
}

impl ServiceMetrics {
    /// Registers the counters.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Answers of services that were not stored";
        registry.register(UNSTORED, help, metrics.unstored.clone());
        metrics
    }
}

/// A service that can't be asked as its contract says.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// A header takes its value from a variable that is not set, or holds something that is no header.
    #[error(
        "data.{contract}.value.headers: `{header}` is taken from the environment variable \
         {variable}, which {what}"
    )]
    Header {
        /// The contract.
        contract: String,
        /// The header's name.
        header: String,
        /// The variable.
        variable: String,
        /// What is the matter with it.
        what: &'static str,
    },
}

/// Asks one service for the values of one contract.
pub struct HttpOrigin {
    contract: Contract,
    service: Service,
    name: String,
    client: Client<HttpConnector, RequestBody>,
    headers: HeaderMap,
    permits: Semaphore,
    clock: Arc<dyn Clock>,
    metrics: ServiceMetrics,
}

impl HttpOrigin {
    /// The origin of a contract whose values `service` gives. `variable` reads the environment.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub fn new(
        contract: Contract,
        service: Service,
        variable: impl Fn(&str) -> Option<String>,
        clock: Arc<dyn Clock>,
        metrics: ServiceMetrics,
    ) -> Result<Self, ServiceError> {
        let headers = headers(&contract.name, &service, variable)?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(service.timeout));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(service.connections)
            .http1_max_headers(128)
            .build(connector);
        let name = format!("service:{}", contract.name);
        let permits = Semaphore::new(service.connections);
        Ok(Self { contract, service, name, client, headers, permits, clock, metrics })
    }

    fn error(&self, kind: OriginErrorKind, what: &str) -> OriginError {
        let (name, at) = (&self.contract.name, self.service.url.authority());
        OriginError { kind, message: format!("contract {name}: the service at {at} {what}") }
    }

    async fn ask(&self, id: &str) -> Result<Loaded, OriginError> {
        let target = self.service.url.target(id).map_err(|why| {
            let message = format!("contract {}: {why}", self.contract.name);
            OriginError { kind: OriginErrorKind::BadRequest, message }
        })?;
        let uri: Uri = format!("http://{}{target}", self.service.url.authority())
            .parse()
            .map_err(|_| self.error(OriginErrorKind::BadRequest, "can't be asked for this id"))?;
        let asked_wall_ms = self.clock.wall_ms();
        let (head, mut body) = self.send(uri).await?;
        match head.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                // Read to its end where that is near, so that the connection can be used again.
                let _ = collected(&mut body, &head, 1 << 16).await;
                return Ok(self.judged(id, &head, asked_wall_ms, Loaded::absent()));
            }
            other => return Err(self.refused(other)),
        }
        let kind = self.wanted(&head)?;
        let whole = collected(&mut body, &head, self.service.max_body_bytes).await;
        let whole = whole.map_err(|what| self.error(OriginErrorKind::Broken, &what))?;
        let loaded = answer::value(whole, kind.as_ref());
        let loaded = loaded.map_err(|what| self.error(OriginErrorKind::Broken, &what))?;
        Ok(self.judged(id, &head, asked_wall_ms, loaded))
    }

    /// Sends the request; once more if the service closed the connection just as it was used.
    async fn send(&self, uri: Uri) -> Result<(response::Parts, Stream), OriginError> {
        let request = || {
            let mut request = Request::new(RequestBody::none());
            *request.uri_mut() = uri.clone();
            request.headers_mut().clone_from(&self.headers);
            request
        };
        let mut sent = self.client.request(request()).await.map_err(|err| explain(&err, IDLE));
        if matches!(sent, Err(UpstreamError::Closed)) {
            sent = self.client.request(request()).await.map_err(|err| explain(&err, IDLE));
        }
        let (head, body) = sent.map_err(|err| self.failed(&err))?.into_parts();
        Ok((head, Stream::new(TimedBody::new(body, self.service.timeout), None)))
    }

    fn failed(&self, err: &UpstreamError) -> OriginError {
        match err {
            UpstreamError::Connect(why) => {
                self.error(OriginErrorKind::Unavailable, &format!("can't be reached: {why}"))
            }
            UpstreamError::ConnectTimeout(_) => {
                self.error(OriginErrorKind::Timeout, "accepts no connection in time")
            }
            UpstreamError::Rubbish(why) => {
                self.error(OriginErrorKind::Broken, &format!("does not speak HTTP: {why}"))
            }
            _ => {
                self.error(OriginErrorKind::Unavailable, "closed the connection without an answer")
            }
        }
    }

    fn refused(&self, status: StatusCode) -> OriginError {
        let (kind, more) = match status.as_u16() {
            300..=399 => (OriginErrorKind::Broken, ": redirects are not followed, name the place"),
            400 | 422 => (OriginErrorKind::BadRequest, ": it takes this for no id"),
            401 | 403 | 407 => (OriginErrorKind::Broken, ": see `value.headers`"),
            408 => (OriginErrorKind::Timeout, ""),
            429 => (OriginErrorKind::Refused, ""),
            502..=504 => (OriginErrorKind::Unavailable, ""),
            _ => (OriginErrorKind::Broken, ""),
        };
        self.error(kind, &format!("answered {}{more}", status.as_u16()))
    }

    /// The type of a value that may be one, if it is not JSON.
    fn wanted(&self, head: &response::Parts) -> Result<Option<HeaderValue>, OriginError> {
        let found = answer::media_type(&head.headers);
        let known = found.as_ref().filter(|(kind, _)| self.service.types.contains(kind));
        let Some((kind, text)) = known else {
            let found = found.map_or_else(|| "no type".to_owned(), |(kind, _)| kind);
            let what =
                format!("answered {found}, and `value.types` wants {:?}", self.service.types);
            return Err(self.error(OriginErrorKind::Broken, &what));
        };
        Ok((!answer::is_json(kind)).then(|| text.clone()))
    }

    /// What the service says of its answer, and what the contract does.
    fn judged(
        &self,
        id: &str,
        head: &response::Parts,
        asked_wall_ms: u64,
        loaded: Loaded,
    ) -> Loaded {
        let Judged { allowed, behind, tags, reason } = answer::judge(&head.headers, asked_wall_ms);
        if let Some(reason) = reason {
            let labels = Labels { contract: self.contract.name.clone(), reason };
            self.metrics.unstored.get_or_create(&labels).inc();
        }
        let usual = match loaded.content {
            cache::Content::Present(_) => self.contract.ttl,
            _ => self.contract.absent_ttl,
        };
        let mut all = cache::origin::tags_of(&self.contract, id);
        all.extend(tags.into_iter().filter(|tag| !all.contains(tag)).collect::<Vec<_>>());
        Loaded { tags: all, ttl: allowed.map(|allowed| allowed.min(usual)), behind, ..loaded }
    }
}

#[async_trait]
impl Origin for HttpOrigin {
    fn name(&self) -> &str {
        &self.name
    }

    fn concurrency(&self) -> Option<usize> {
        Some(self.service.connections)
    }

    async fn load(&self, _: &Key, id: &str) -> Result<Loaded, OriginError> {
        // Held until the body is read. A batch is one load of its gate, and asks for many at once.
        let _permit = self.permits.acquire().await;
        let answer = tokio::time::timeout(self.service.timeout, self.ask(id)).await;
        answer.unwrap_or_else(|_| {
            let what = format!("did not answer within {:?}", self.service.timeout);
            Err(self.error(OriginErrorKind::Timeout, &what))
        })
    }
}

fn headers(
    contract: &str,
    service: &Service,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<HeaderMap, ServiceError> {
    let mut headers = HeaderMap::new();
    let text = |text: &str| HeaderValue::from_str(text).expect("the contract holds plain text");
    headers.insert(HOST, text(service.url.authority()));
    headers.insert(ACCEPT, text(&service.types.join(", ")));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let agent = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    for header in &service.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).expect("checked to be a token");
        let value = match &header.value {
            HeaderText::Plain(plain) => text(plain),
            HeaderText::Env(from) => {
                let failed = |what| ServiceError::Header {
                    contract: contract.to_owned(),
                    header: header.name.clone(),
                    variable: from.clone(),
                    what,
                };
                let held = variable(from).ok_or_else(|| failed("is not set"))?;
                let held = HeaderValue::from_str(&held);
                let mut held = held.map_err(|_| failed("holds what no header may hold"))?;
                held.set_sensitive(true);
                held
            }
        };
        headers.append(name, value);
    }
    Ok(headers)
}
