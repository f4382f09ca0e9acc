//! The data face: `GET /data/{contract}/{id}` answers one value under its contract,
//! `GET /data/batch?get={contract}/{id}&get=…` several.
//!
//! With `Tidegate-After: <token>` the answer misses nothing that was committed up to the token.
//!
//! It belongs on a private address, beside the application: it checks nobody's rights.

mod batch;
mod inspect;
mod refusal;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache::{Answer, Content, Engine, Origin, Policy};
use coherence::After;
use contract::{Contract, Key};
use http::header::{AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;

pub use self::inspect::{InspectError, Inspected};
use self::refusal::{Refusal, problem};
use crate::body::Body;
use crate::proof::{self, CACHE_STATUS, TIDEGATE_FRESHNESS};
use crate::request_id::{RequestIds, X_REQUEST_ID};
use crate::token;

/// How long requests under way may take to end.
const DRAIN: Duration = Duration::from_secs(10);
/// Between two tries to accept when the machine refuses.
const BREATH: Duration = Duration::from_millis(50);
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
/// A client's own cache would add staleness that no bound speaks of.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Somebody who wants to see answers that clients get. Called for every answer: it must be quick
/// and must not block.
pub trait Sampler: Send + Sync + 'static {
    /// This is about to be sent.
    fn answered(&self, key: &Key, id: &str, policy: &Policy, answer: &Answer);
}

/// Answers values from the engine. Clones share everything.
#[derive(Clone)]
pub struct DataFace {
    engine: Engine,
    faces: Arc<BTreeMap<String, Face>>,
    ids: Arc<RequestIds>,
    sampler: Option<Arc<dyn Sampler>>,
}

/// One contract as it is read here.
pub struct Face {
    /// What is promised, and how keys are made.
    pub contract: Contract,
    /// The same for the engine.
    pub policy: Arc<Policy>,
    /// Where values come from.
    pub origin: Arc<dyn Origin>,
}

impl DataFace {
    /// Serves `faces`, each under its contract's name.
    #[must_use]
    pub fn new(engine: Engine, faces: Vec<Face>) -> Self {
        let named = faces.into_iter().map(|face| (face.contract.name.clone(), face));
        let (faces, ids) = (Arc::new(named.collect()), Arc::new(RequestIds::new()));
        Self { engine, faces, ids, sampler: None }
    }

    /// Shows every answer to `sampler`.
    #[must_use]
    pub fn with_sampler(self, sampler: Arc<dyn Sampler>) -> Self {
        Self { sampler: Some(sampler), ..self }
    }

    /// Serves HTTP/1.1 on `listener` until `shutdown` resolves; then lets requests under way end
    /// within ten seconds.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).half_close(false);
        let connections = GracefulShutdown::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let socket = tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => match accepted {
                    Ok((socket, _)) => socket,
                    Err(err) => {
                        // Too many open files, most likely: ends by itself as connections end.
                        tracing::warn!(error = %err, "can't accept a connection");
                        tokio::time::sleep(BREATH).await;
                        continue;
                    }
                },
            };
            let _ = socket.set_nodelay(true);
            let face = self.clone();
            let service = service_fn(move |request| {
                let face = face.clone();
                async move { Ok::<_, Infallible>(face.answer(&request).await) }
            });
            let connection = server.serve_connection(TokioIo::new(socket), service);
            let watched = connections.watch(connection);
            tokio::spawn(async move {
                if let Err(err) = watched.await {
                    tracing::debug!(error = %err, "connection ended");
                }
            });
        }
        drop(listener);
        if tokio::time::timeout(DRAIN, connections.shutdown()).await.is_err() {
            tracing::warn!("connections of the data face did not end in time");
        }
    }

    /// Answers one request; its body is ignored.
    async fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let id = self.ids.of(request.headers());
        let mut response = match self.respond(request).await {
            Ok(response) => response,
            Err(refusal) => {
                tracing::debug!(
                    request_id = id.to_str().unwrap_or_default(),
                    path = request.uri().path(),
                    status = refusal.status.as_u16(),
                    detail = %refusal.detail,
                    "no value"
                );
                refusal.response()
            }
        };
        response.headers_mut().insert(X_REQUEST_ID, id);
        if *request.method() == Method::HEAD {
            let length = response.body().size_hint().lower();
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            *response.body_mut() = Body::Empty;
        }
        response
    }

    async fn respond<B>(&self, request: &Request<B>) -> Result<Response<Body>, Refusal> {
        let (method, uri) = (request.method(), request.uri());
        let named = uri.path().strip_prefix("/data/").filter(|path| !path.is_empty());
        let one = named.and_then(|path| path.split_once('/'));
        if one.is_none() && named != Some(batch::PATH) {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "no such page", WHERE.into()));
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let detail = format!("{method} is not possible here; use GET or HEAD");
            return Err(Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "values are only read",
                detail,
            ));
        }
        let after = || {
            token::asked(request.headers()).map_err(|err| {
                Refusal::new(StatusCode::BAD_REQUEST, "Tidegate-After is no token", err.0)
            })
        };
        let Some((name, id)) = one else {
            return self.batch(uri.query().unwrap_or_default(), after()?).await;
        };
        let face = self.face(name)?;
        let id = decoded(id).ok_or_else(|| bad_id("the id is not well-formed UTF-8".into()))?;
        let key = face.contract.key(&id).map_err(|err| bad_id(err.to_string()))?;
        let answer = self.ask(face, &key, &id, after()?).await?;
        if let Some(sampler) = &self.sampler {
            sampler.answered(&key, &id, &face.policy, &answer);
        }
        Ok(proven(&answer, &face.policy))
    }

    fn face(&self, name: &str) -> Result<&Face, Refusal> {
        self.faces.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.faces.keys().map(String::as_str).collect();
            let detail = format!(
                "there is no contract {name:?} with a value; there are: {}",
                known.join(", ")
            );
            Refusal::new(StatusCode::NOT_FOUND, "no such contract", detail)
        })
    }

    async fn ask(
        &self,
        face: &Face,
        key: &Key,
        id: &str,
        after: Option<After>,
    ) -> Result<Answer, Refusal> {
        let peeked = match after {
            None => self.engine.peek(key, &face.policy),
            Some(after) => self.engine.peek_after(key, &face.policy, after),
        };
        match peeked {
            Some(answer) => Ok(answer),
            None => Ok(self.engine.get_after(key, id, &face.policy, &face.origin, after).await?),
        }
    }
}

const WHERE: &str =
    "values are at /data/{contract}/{id}, several at /data/batch?get={contract}/{id}&get=…";

fn bad_id(detail: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "that is no id", detail)
}

/// The value, or why there is none.
fn body<'a>(answer: &'a Answer, policy: &Policy) -> Result<&'a Bytes, Refusal> {
    match &answer.entry.content {
        Content::Present(value) => Ok(&value.body),
        Content::Absent => {
            let detail = format!("{} has no row for this id", policy.name);
            Err(Refusal::new(StatusCode::NOT_FOUND, "no such row", detail))
        }
        Content::Uncacheable => {
            let detail = format!("the origin of {} gave nothing that may be shared", policy.name);
            Err(Refusal::new(StatusCode::BAD_GATEWAY, "no value", detail))
        }
    }
}

/// The type of a value: JSON, unless its origin says another.
fn kind(answer: &Answer) -> HeaderValue {
    let Content::Present(value) = &answer.entry.content else { return JSON };
    let said = (!value.head.is_empty()).then(|| HeaderValue::from_bytes(&value.head).ok());
    said.flatten().unwrap_or(JSON)
}

/// A value or its proven absence, with the proof.
fn proven(answer: &Answer, policy: &Policy) -> Response<Body> {
    let (status, kind, body) = match body(answer, policy) {
        Ok(body) => (StatusCode::OK, kind(answer), body.clone()),
        Err(none) => (none.status, PROBLEM, problem(none.status, none.title, &none.detail)),
    };
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(CACHE_STATUS, proof::cache_status(&answer.proof()));
    headers.insert(
        TIDEGATE_FRESHNESS,
        proof::freshness(&answer.proof(), &policy.name, proof::Face::Data(policy.evidence)),
    );
    headers.insert(AGE, HeaderValue::from(answer.proof().age.as_secs()));
    response
}

/// Percent-decoding (RFC 3986 §2.1). `None`: what comes out is no UTF-8, or an escape is cut off.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let hex = |byte: u8| char::from(byte).to_digit(16);
        let value = hex(rest.next()?)? * 16 + hex(rest.next()?)?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn ids_are_percent_decoded() {
        assert_eq!(decoded("a%20b%C3%A4").as_deref(), Some("a bä"));
        for broken in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decoded(broken), None, "{broken}");
        }
    }
}
