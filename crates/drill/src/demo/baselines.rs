//! The baselines: common caching strategies as small proxies — no cache, a short TTL, and
//! delete-on-write.
//!
//! They use the same HTTP library as Tidegate's gateway, so that a comparison compares strategies,
//! not implementations. They have every advantage of real deployments: the shop's own code notifies
//! the delete-on-write cache of each write right after its commit, and the cache deletes every page
//! that names the product. Like real ones, it does not learn of writes by other programs, nor of
//! responses that were in flight when it deleted.

mod store;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::load::client::{Pool, get};
use store::Store;

/// A caching strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// Forwards every request.
    NoCache,
    /// Stores every shareable page for this long; nothing invalidates it.
    TtlOnly(Duration),
    /// Stores every shareable page for an hour or until the application deletes it.
    DeleteOnWrite,
}

impl Baseline {
    fn ttl(self) -> Option<Duration> {
        match self {
            Self::NoCache => None,
            Self::TtlOnly(ttl) => Some(ttl),
            Self::DeleteOnWrite => Some(Duration::from_secs(3600)),
        }
    }
}

/// A running baseline. Dropping it closes its port and connections.
pub struct BaselineProxy {
    address: SocketAddr,
    state: Arc<ProxyState>,
    task: JoinHandle<()>,
}

struct ProxyState {
    baseline: Baseline,
    name: &'static str,
    upstream: Pool,
    store: Store,
    deletions: AtomicU64,
}

impl BaselineProxy {
    /// Serves on `listener` from the cache and from `upstream`.
    ///
    /// # Panics
    /// Panics outside a Tokio runtime, or if `listener` has no local address.
    pub fn start(baseline: Baseline, listener: TcpListener, upstream: SocketAddr) -> Self {
        let address = listener.local_addr().expect("a bound listener has an address");
        let name = match baseline {
            Baseline::NoCache => "no_cache",
            Baseline::TtlOnly(_) => "ttl_only",
            Baseline::DeleteOnWrite => "delete_on_write",
        };
        let state = Arc::new(ProxyState {
            baseline,
            name,
            upstream: Pool::new(upstream),
            store: Store::default(),
            deletions: AtomicU64::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, task }
    }

    /// Returns the address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a write hook for the shop, which deletes every page that shows one of the given
    /// products.
    pub fn delete_hook(&self) -> impl Fn(&[u32]) + Send + Sync + 'static {
        let state = Arc::clone(&self.state);
        move |products| {
            let deleted = state.store.delete(products);
            state.deletions.fetch_add(deleted, Ordering::Relaxed);
        }
    }

    /// Returns a counter of the pages that the hook has deleted.
    pub fn deletions(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let state = Arc::clone(&self.state);
        move || state.deletions.load(Ordering::Relaxed)
    }
}

impl Drop for BaselineProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<ProxyState>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let state = Arc::clone(&state);
                    connections.spawn(async move {
                        let service = service_fn(move |request| respond(Arc::clone(&state), request));
                        // A disconnect by the client is not an error.
                        let _ = hyper::server::conn::http1::Builder::new()
                            .timer(TokioTimer::new())
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

type ProxyResponse = Response<Full<Bytes>>;

async fn respond(
    state: Arc<ProxyState>,
    request: Request<Incoming>,
) -> Result<ProxyResponse, Infallible> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if request.method() != Method::GET {
        return Ok(text_response(StatusCode::METHOD_NOT_ALLOWED, "only GET is supported"));
    }
    if let Some(stored) = state.store.get(path) {
        let mut response = Response::new(Full::new(stored.body.clone()));
        response.headers_mut().clone_from(&stored.headers);
        return Ok(state.with_cache_status(response, "hit"));
    }
    let Some(upstream) = get(path) else {
        return Ok(text_response(StatusCode::BAD_REQUEST, "invalid path"));
    };
    match state.upstream.send(upstream).await {
        Ok(fetched) => {
            let (mut head, body) = fetched.into_parts();
            for hop_by_hop in
                [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH]
            {
                head.headers.remove(hop_by_hop);
            }
            if let Some(ttl) = state.baseline.ttl()
                && head.status == StatusCode::OK
                && is_shareable(&head.headers)
            {
                state.store.put(path, &head.headers, &body, ttl);
            }
            Ok(state.with_cache_status(Response::from_parts(head, Full::new(body)), "fwd=miss"))
        }
        Err(error) => Ok(text_response(StatusCode::BAD_GATEWAY, &error.to_string())),
    }
}

impl ProxyState {
    fn with_cache_status(&self, mut response: ProxyResponse, status: &str) -> ProxyResponse {
        const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
        if let Ok(value) = HeaderValue::from_str(&format!("{}; {status}", self.name)) {
            response.headers_mut().insert(CACHE_STATUS, value);
        }
        response
    }
}

fn is_shareable(headers: &http::HeaderMap) -> bool {
    let control =
        headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or("");
    !headers.contains_key(header::SET_COOKIE)
        && !control.contains("private")
        && !control.contains("no-store")
        && !control.contains("no-cache")
}

fn text_response(status: StatusCode, text: &str) -> ProxyResponse {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    response
}
