//! A payment provider for rehearsals: no money moves. It speaks the part of Stripe's API that a shop uses, and a
//! small protocol of JSON, and keeps a ledger of its own: the truth that a shop's books are compared with.
//!
//! Faults are set with `POST /faults`; `GET /ledger` shows each operation that was executed.

mod book;
mod call;
mod faults;
mod plain;
mod stripe;
mod webhooks;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use self::book::{Book, Reply};
use self::call::Call;
use self::faults::{Fate, Faults};

/// The state of the provider.
#[derive(Default)]
struct Provider {
    book: Mutex<Book>,
    faults: Mutex<Faults>,
}

/// Serves for ever.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let provider = Arc::new(Provider::default());
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(Arc::clone(&provider), stream));
    }
}

async fn connection(provider: Arc<Provider>, stream: TcpStream) {
    let service = service_fn(|request| {
        let provider = Arc::clone(&provider);
        async move { answer(&provider, request).await }
    });
    // A connection whose reply is lost is closed by the error.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A reply that is lost: the connection is closed without it.
#[derive(Debug)]
struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reply is lost")
    }
}

impl std::error::Error for Lost {}

impl From<Infallible> for Lost {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

async fn answer(
    provider: &Arc<Provider>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Lost> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
    let key = parts.headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let call = Call {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        key: key.map(str::to_owned),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let reply = match (&call.method, call.path.as_str()) {
        (&Method::GET, "/ledger") => Reply::ok(provider.book.lock().shown()),
        (&Method::POST, "/faults") => set_faults(provider, &call.body),
        _ => with_faults(provider, &call).await?,
    };
    let mut response = Response::new(Full::from(reply.body.to_string()));
    *response.status_mut() = reply.status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}

fn set_faults(provider: &Provider, body: &str) -> Reply {
    match serde_json::from_str(body) {
        Ok(faults) => {
            *provider.faults.lock() = faults;
            Reply::ok(Value::Null)
        }
        Err(err) => Reply::error(StatusCode::BAD_REQUEST, "faults", &err.to_string()),
    }
}

async fn with_faults(provider: &Arc<Provider>, call: &Call) -> Result<Reply, Lost> {
    let (fate, delay) = provider.faults.lock().fate(call.kind());
    tokio::time::sleep(delay).await;
    match fate {
        Fate::Unreachable => return Err(Lost),
        Fate::Refuse(status) => return Ok(Reply::error(status, "api_error", "a fault")),
        Fate::Execute | Fate::LoseReply | Fate::FailAfter => {}
    }
    let (mut reply, touched) = execute(&mut provider.book.lock(), call);
    if let (Fate::FailAfter, Some(key)) = (fate, &call.key) {
        reply = Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "api_error", "a fault");
        provider.book.lock().replace(key, &reply);
    }
    if let (Some(payment), Some(plan)) = (touched, provider.faults.lock().webhooks.clone()) {
        webhooks::send(plan, payment);
    }
    if fate == Fate::LoseReply { Err(Lost) } else { Ok(reply) }
}

/// Executes a call. Returns the payment that it has changed.
fn execute(book: &mut Book, call: &Call) -> (Reply, Option<String>) {
    let fingerprint = format!("{} {} {}", call.method, call.path, call.body);
    if let Some(key) = &call.key
        && let Some(stored) = book.stored(key, &fingerprint)
    {
        return (stored, None);
    }
    let before = book.executed();
    let (reply, payment) = match call.path.strip_prefix("/v1/") {
        Some(path) => stripe::call(book, call, path),
        None => plain::call(book, call),
    };
    if let Some(key) = &call.key {
        book.store(key, fingerprint, &reply);
    }
    (reply, payment.filter(|_| book.executed() > before))
}
