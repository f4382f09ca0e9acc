//! A service as an origin of the engine.

use std::sync::Arc;

use async_trait::async_trait;
use cache::{Loaded, Origin, OriginError, OriginErrorKind};
use coherence::Clock;
use contract::{Contract, HeaderText, Key, Service};
use http::header::{ACCEPT, ACCEPT_ENCODING, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::sync::Semaphore;

use super::response::{self as service_response, Directives};
use crate::http::body::{Stream, TimedBody};
use crate::http::pace::PaceLimits;
use crate::settings::server_address::ServerAddress;
use crate::settings::tls_files::TlsFiles;
use crate::upstream::client::{self, HttpClient, http_client};
use crate::upstream::connector::Connector;
use crate::upstream::error::UpstreamError;
use crate::upstream::upload::RequestBody;

/// Service responses that were not stored, by contract and reason.
pub const UNSTORED: &str = "tidegate_service_unstored_responses";

/// The metrics of services. Clones share the counters.
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
    /// Registers the metrics.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Service responses that were not stored, by contract and reason";
        registry.register(UNSTORED, help, metrics.unstored.clone());
        metrics
    }
}

/// The configuration of a service is invalid.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// A header reads its value from an environment variable that is not set, or is not a valid
    /// header value.
    #[error(
        "data.{contract}.value.headers: `{header}` is read from the environment variable \
         {variable}, which {problem}"
    )]
    Header {
        /// The contract.
        contract: String,
        /// The header's name.
        header: String,
        /// The environment variable.
        variable: String,
        /// The problem with the variable.
        problem: &'static str,
    },
    /// The address can't be connected to, or the files of TLS can't be used.
    #[error("data.{contract}.value.http: {problem}")]
    Address {
        /// The contract.
        contract: String,
        /// The problem.
        problem: String,
    },
}

/// Loads the values of one contract from one service.
pub struct HttpOrigin {
    contract: Contract,
    service: Service,
    name: String,
    client: HttpClient,
    headers: HeaderMap,
    permits: Semaphore,
    clock: Arc<dyn Clock>,
    metrics: ServiceMetrics,
}

impl HttpOrigin {
    /// Creates the origin of a contract whose values `service` provides. `variable` reads an environment
    /// variable. `files`: of encrypted connections.
    ///
    /// # Errors
    /// [`ServiceError`] where a header's variable is missing or invalid, or a file of TLS.
    pub fn new(
        contract: Contract,
        service: Service,
        variable: impl Fn(&str) -> Option<String>,
        files: &TlsFiles,
        clock: Arc<dyn Clock>,
        metrics: ServiceMetrics,
    ) -> Result<Self, ServiceError> {
        let headers = headers(&contract.name, &service, variable)?;
        let unusable = |problem| ServiceError::Address { contract: contract.name.clone(), problem };
        let address = address(&service).map_err(unusable)?;
        let connector = Connector::new(&address, files, service.timeout);
        connector.check().map_err(|err| unusable(err.to_string()))?;
        let client = http_client(connector, service.connections);
        let name = format!("service:{}", contract.name);
        let permits = Semaphore::new(service.connections);
        Ok(Self { contract, service, name, client, headers, permits, clock, metrics })
    }

    fn error(&self, kind: OriginErrorKind, problem: &str) -> OriginError {
        let (name, address) = (&self.contract.name, self.service.url.server());
        OriginError {
            kind,
            message: format!("contract {name}: the service at {address} {problem}"),
        }
    }

    async fn fetch(&self, id: &str) -> Result<Loaded, OriginError> {
        let refused = |why: &dyn std::fmt::Display| {
            let message = format!("contract {}: {why}", self.contract.name);
            OriginError { kind: OriginErrorKind::BadRequest, message }
        };
        let item = self.contract.item(id).map_err(|why| refused(&why))?;
        let target = self.service.url.target(&item.parameters()).map_err(|why| refused(&why))?;
        let scheme = if self.service.url.is_tls() { "https" } else { "http" };
        let uri: Uri = format!("{scheme}://{}{target}", self.service.url.authority())
            .parse()
            .map_err(|_| self.error(OriginErrorKind::BadRequest, "has no valid URL for this ID"))?;
        let requested_wall_ms = self.clock.wall_ms();
        let (head, mut body) = self.send(uri).await?;
        match head.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                // Reads a short body to its end, so that the connection can be reused.
                let _ = service_response::read_body(&mut body, &head, 1 << 16).await;
                return Ok(self.apply_directives(id, &head, requested_wall_ms, Loaded::absent()));
            }
            other => return Err(self.status_error(other)),
        }
        let media_type = self.check_media_type(&head)?;
        let broken = |problem: String| self.error(OriginErrorKind::Broken, &problem);
        let max_bytes = self.service.max_body_bytes;
        let body =
            service_response::read_body(&mut body, &head, max_bytes).await.map_err(broken)?;
        let loaded = service_response::value(body, media_type.as_ref()).map_err(broken)?;
        Ok(self.apply_directives(id, &head, requested_wall_ms, loaded))
    }

    /// Sends the request. Repeats it once if the service closed a reused connection.
    async fn send(&self, uri: Uri) -> Result<(response::Parts, Stream), OriginError> {
        let request = || {
            let mut request = Request::new(RequestBody::empty());
            *request.uri_mut() = uri.clone();
            request.headers_mut().clone_from(&self.headers);
            request
        };
        let send = || async {
            let response = client::send(&self.client, request()).await;
            response.map_err(|err| UpstreamError::from_client(&err, self.service.timeout))
        };
        let mut sent = send().await;
        if matches!(sent, Err(UpstreamError::Closed)) {
            sent = send().await;
        }
        let (head, body) = sent.map_err(|err| self.send_error(&err))?.into_parts();
        let limits = PaceLimits { pause: self.service.timeout, rate: 0 };
        Ok((head, Stream::new(TimedBody::new(body, limits), None)))
    }

    fn send_error(&self, err: &UpstreamError) -> OriginError {
        match err {
            UpstreamError::Connect(why) => {
                self.error(OriginErrorKind::Unavailable, &format!("can't be reached: {why}"))
            }
            UpstreamError::Tls(why) => {
                self.error(OriginErrorKind::Unavailable, &format!("can't be reached: TLS: {why}"))
            }
            UpstreamError::ConnectTimeout(_) => {
                self.error(OriginErrorKind::Timeout, "did not accept a connection in time")
            }
            UpstreamError::InvalidHttp(why) => {
                self.error(OriginErrorKind::Broken, &format!("does not speak HTTP: {why}"))
            }
            _ => {
                self.error(OriginErrorKind::Unavailable, "closed the connection without a response")
            }
        }
    }

    fn status_error(&self, status: StatusCode) -> OriginError {
        let (kind, hint) = match status.as_u16() {
            300..=399 => {
                (OriginErrorKind::Broken, ": redirects are not followed; configure the final URL")
            }
            400 | 422 => (OriginErrorKind::BadRequest, ": it rejects this ID"),
            401 | 403 | 407 => (OriginErrorKind::Broken, ": see `value.headers`"),
            408 => (OriginErrorKind::Timeout, ""),
            429 => (OriginErrorKind::Refused, ""),
            502..=504 => (OriginErrorKind::Unavailable, ""),
            _ => (OriginErrorKind::Broken, ""),
        };
        self.error(kind, &format!("returned {}{hint}", status.as_u16()))
    }

    /// Checks the media type of the response, and returns it if it is not JSON.
    fn check_media_type(&self, head: &response::Parts) -> Result<Option<HeaderValue>, OriginError> {
        let found = service_response::media_type(&head.headers);
        let allowed = found.as_ref().filter(|(kind, _)| self.service.types.contains(kind));
        let Some((kind, field)) = allowed else {
            let found = found.map_or_else(|| "no media type".to_owned(), |(kind, _)| kind);
            let types = &self.service.types;
            let problem = format!("returned {found}; `value.types` allows {types:?}");
            return Err(self.error(OriginErrorKind::Broken, &problem));
        };
        Ok((!service_response::is_json(kind)).then(|| field.clone()))
    }

    /// Combines the directives of a response with the rules of the contract.
    fn apply_directives(
        &self,
        id: &str,
        head: &response::Parts,
        requested_wall_ms: u64,
        loaded: Loaded,
    ) -> Loaded {
        let Directives { max_ttl, behind, tags, change, not_stored } =
            service_response::directives(&head.headers, requested_wall_ms);
        if let Some(reason) = not_stored {
            let labels = Labels { contract: self.contract.name.clone(), reason: reason.as_str() };
            self.metrics.unstored.get_or_create(&labels).inc();
        }
        let contract_ttl = match loaded.content {
            cache::Content::Present(_) => self.contract.ttl,
            _ => self.contract.absent_ttl,
        };
        let mut all = cache::origin::tags_of(&self.contract, id);
        all.extend(tags.into_iter().filter(|tag| !all.contains(tag)).collect::<Vec<_>>());
        let ttl = max_ttl.map(|max| max.min(contract_ttl));
        Loaded { tags: all, ttl, behind, change, ..loaded }
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
        // The permit lasts until the body is read. The engine's gate counts a batch as one load, but a
        // batch sends many requests at once.
        let _permit = self.permits.acquire().await;
        let outcome = tokio::time::timeout(self.service.timeout, self.fetch(id)).await;
        outcome.unwrap_or_else(|_| {
            let problem = format!("did not respond within {:?}", self.service.timeout);
            Err(self.error(OriginErrorKind::Timeout, &problem))
        })
    }
}

/// Returns the address of a service's server.
fn address(service: &Service) -> Result<ServerAddress, String> {
    match service.url.socket() {
        Some(path) => ServerAddress::unix(path),
        None => service.url.server().parse(),
    }
}

fn headers(
    contract: &str,
    service: &Service,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<HeaderMap, ServiceError> {
    let mut headers = HeaderMap::new();
    let text = |text: &str| HeaderValue::from_str(text).expect("the contract has visible ASCII");
    headers.insert(HOST, text(service.url.authority()));
    headers.insert(ACCEPT, text(&service.types.join(", ")));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let agent = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    for header in &service.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .expect("the contract has validated the name");
        let value = match &header.value {
            HeaderText::Plain(plain) => text(plain),
            HeaderText::Env(from) => {
                let invalid = |problem| ServiceError::Header {
                    contract: contract.to_owned(),
                    header: header.name.clone(),
                    variable: from.clone(),
                    problem,
                };
                let text = variable(from).ok_or_else(|| invalid("is not set"))?;
                let value = HeaderValue::from_str(&text);
                let mut value = value.map_err(|_| invalid("is not a valid header value"))?;
                value.set_sensitive(true);
                value
            }
        };
        headers.append(name, value);
    }
    Ok(headers)
}
