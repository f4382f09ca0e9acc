//! The client of the authority, on a transport of the caller.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use parking_lot::Mutex;
use thiserror::Error as ThisError;

/// The longest time of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// An error of a transport.
pub type TransportError = Box<dyn std::error::Error + Send + Sync>;

/// Sends requests.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends a request to the host of its URL, which has the scheme `https`. Verifies the host's certificate.
    ///
    /// # Errors
    /// There is no response, or it is too large.
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError>;
}

/// A response that is none of the protocol, or that there is none.
#[derive(Debug, ThisError)]
pub(crate) enum NoAnswer {
    #[error("{0}")]
    Transport(TransportError),
    #[error("no response within {REQUEST_TIMEOUT:?}")]
    TimedOut,
    #[error("the status {0}, without a problem of the protocol")]
    Status(StatusCode),
}

/// The pause for which the last refused request has asked.
pub(crate) type AskedPause = Arc<Mutex<Option<Duration>>>;

/// The client. It keeps `Retry-After` of refusals, and takes only problems of the protocol for refusals.
pub(crate) struct AcmeClient {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) asked_pause: AskedPause,
}

type Answer = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

impl HttpClient for AcmeClient {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answer {
        let (transport, asked_pause) = (Arc::clone(&self.transport), Arc::clone(&self.asked_pause));
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let sent = transport.send(Request::from_parts(parts, body));
            let response = match tokio::time::timeout(REQUEST_TIMEOUT, sent).await {
                Ok(sent) => sent.map_err(|err| no_answer(NoAnswer::Transport(err)))?,
                Err(_) => return Err(no_answer(NoAnswer::TimedOut)),
            };
            let status = response.status();
            if status.is_client_error() || status.is_server_error() {
                *asked_pause.lock() = retry_after(&response);
                if !is_problem(response.body()) {
                    return Err(no_answer(NoAnswer::Status(status)));
                }
            }
            let (parts, body) = response.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

fn no_answer(err: NoAnswer) -> Error {
    Error::Other(Box::new(err))
}

fn is_problem(body: &[u8]) -> bool {
    let problem: Result<serde_json::Value, _> = serde_json::from_slice(body);
    problem.is_ok_and(|problem| problem["type"].is_string())
}

/// Reads seconds or a date.
fn retry_after(response: &Response<Bytes>) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now()).ok(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the authority names a date of real time")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_read_in_both_forms() {
        let of = |value: &str| {
            let response = Response::builder().header(header::RETRY_AFTER, value);
            retry_after(&response.body(Bytes::new()).expect("a response"))
        };
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        let date = of("Fri, 31 Dec 9999 23:59:59 GMT").expect("a date");
        assert!(date > Duration::from_secs(86_400 * 365));
        assert_eq!(of("soon"), None);
        assert_eq!(of("-1"), None);
        assert_eq!(of("Thu, 01 Jan 1970 00:00:00 GMT"), None, "it has passed");
    }

    #[test]
    fn pages_of_proxies_are_no_problems() {
        assert!(is_problem(br#"{"type":"urn:ietf:params:acme:error:malformed","status":400}"#));
        for body in [&b""[..], b"<html>502</html>", b"{}", b"[]", b"\xff"] {
            assert!(!is_problem(body));
        }
    }
}
