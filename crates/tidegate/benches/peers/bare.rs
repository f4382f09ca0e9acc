//! A hyper server that answers every request with one page from memory: the cost of HTTP itself on this
//! machine, and the application behind the caches.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The size of the page.
pub(crate) const PAGE_BYTES: usize = 4_096;

const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// Serves until it is killed. The runtime is set up as Tidegate's own: one worker per core.
pub(crate) fn run(port: &str) -> Result<()> {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse()?));
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(at))
}

async fn serve(at: SocketAddr) -> Result<()> {
    let page = Bytes::from(page());
    let listener = TcpListener::bind(at).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let page = page.clone();
        let service = service_fn(move |_: Request<Incoming>| {
            let response = answer(page.clone());
            async { Ok::<_, Infallible>(response) }
        });
        // On a worker of the runtime, as Tidegate's connections; this task does not run on one.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

fn answer(page: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(page));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, s-maxage=3600"));
    headers.insert(SURROGATE_KEY, HeaderValue::from_static("product-42"));
    response
}

fn page() -> Vec<u8> {
    b"<p>All the same to a cache.</p>\n".iter().copied().cycle().take(PAGE_BYTES).collect()
}
