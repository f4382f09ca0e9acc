//! What people do today, as small proxies: no cache, a short TTL, and delete-on-write.
//!
//! They are built from the same HTTP library as Tidegate's gateway, so a comparison compares
//! ideas, not implementations. They are given every benefit that the real ones have: the
//! delete-on-write cache is told of each write by the shop's own code right after its commit, and
//! deletes every page that names the product. What it cannot know is what real ones cannot know:
//! writes by others, and answers that were on their way when it deleted.

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

use crate::client::{Pool, get};
use store::Store;

/// How a rival caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rival {
    /// Passes everything on.
    NoCache,
    /// Keeps every shareable page for so long, whatever happens meanwhile.
    TtlOnly(Duration),
    /// Keeps every shareable page for an hour, until the application deletes it.
    DeleteOnWrite,
}

impl Rival {
    fn keeps_for(self) -> Option<Duration> {
        match self {
            Self::NoCache => None,
            Self::TtlOnly(ttl) => Some(ttl),
            Self::DeleteOnWrite => Some(Duration::from_secs(3600)),
        }
    }
}

/// A rival at work. Dropping it closes its port and connections.
pub struct RivalProxy {
    address: SocketAddr,
    work: Arc<Work>,
    task: JoinHandle<()>,
}

struct Work {
    rival: Rival,
    name: &'static str,
    upstream: Pool,
    store: Store,
    deletions: AtomicU64,
}

impl RivalProxy {
    /// Answers on `listener` with what `upstream` says. Call it inside a Tokio runtime.
    ///
    /// # Panics
    /// When `listener` has no local address.
    pub fn start(rival: Rival, listener: TcpListener, upstream: SocketAddr) -> Self {
        let address = listener.local_addr().expect("a bound listener has an address");
        let name = match rival {
            Rival::NoCache => "no_cache",
            Rival::TtlOnly(_) => "ttl_only",
            Rival::DeleteOnWrite => "delete_on_write",
        };
        let work = Arc::new(Work {
            rival,
            name,
            upstream: Pool::new(upstream),
            store: Store::default(),
            deletions: AtomicU64::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&work)));
        Self { address, work, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For the shop's write hook: deletes every page that shows one of these products.
    pub fn deleter(&self) -> impl Fn(&[u32]) + Send + Sync + 'static {
        let work = Arc::clone(&self.work);
        move |products| {
            let deleted = work.store.delete(products);
            work.deletions.fetch_add(deleted, Ordering::Relaxed);
        }
    }

    /// How many pages it was told to delete and had.
    pub fn deletions(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let work = Arc::clone(&self.work);
        move || work.deletions.load(Ordering::Relaxed)
    }
}

impl Drop for RivalProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, work: Arc<Work>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let work = Arc::clone(&work);
                    connections.spawn(async move {
                        let service = service_fn(move |request| answer(Arc::clone(&work), request));
                        // A client that goes away is nobody's error.
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

type Answer = Response<Full<Bytes>>;

async fn answer(work: Arc<Work>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if request.method() != Method::GET {
        return Ok(short(StatusCode::METHOD_NOT_ALLOWED, "rivals only read"));
    }
    if let Some(kept) = work.store.get(path) {
        let mut answer = Response::new(Full::new(kept.body.clone()));
        answer.headers_mut().clone_from(&kept.headers);
        return Ok(work.signed(answer, "hit"));
    }
    let Some(upstream) = get(path) else {
        return Ok(short(StatusCode::BAD_REQUEST, "no such path"));
    };
    match work.upstream.send(upstream).await {
        Ok(fetched) => {
            let (mut head, body) = fetched.into_parts();
            for hop in [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
                head.headers.remove(hop);
            }
            if let Some(ttl) = work.rival.keeps_for()
                && head.status == StatusCode::OK
                && shareable(&head.headers)
            {
                work.store.put(path, &head.headers, &body, ttl);
            }
            Ok(work.signed(Response::from_parts(head, Full::new(body)), "fwd=miss"))
        }
        Err(error) => Ok(short(StatusCode::BAD_GATEWAY, &error.to_string())),
    }
}

impl Work {
    fn signed(&self, mut answer: Answer, status: &str) -> Answer {
        const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
        if let Ok(value) = HeaderValue::from_str(&format!("{}; {status}", self.name)) {
            answer.headers_mut().insert(CACHE_STATUS, value);
        }
        answer
    }
}

fn shareable(headers: &http::HeaderMap) -> bool {
    let control =
        headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or("");
    !headers.contains_key(header::SET_COOKIE)
        && !control.contains("private")
        && !control.contains("no-store")
        && !control.contains("no-cache")
}

fn short(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *answer.status_mut() = status;
    answer
}
