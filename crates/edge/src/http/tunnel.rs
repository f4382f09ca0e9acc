//! WebSockets: after the upstream has agreed, bytes go both ways until either side ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};

use super::body::Body;
use super::forwarding::list_members;
use super::in_flight::{ClientSocket, Tunnel};

/// The protocol that is handed through.
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Whether a request asks for a WebSocket (RFC 6455 §4.1).
pub(crate) fn is_websocket<B>(request: &Request<B>) -> bool {
    let lists = |name, wanted: &str| {
        list_members(request.headers(), name).any(|given| given.eq_ignore_ascii_case(wanted))
    };
    *request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && lists(&UPGRADE, "websocket")
        && lists(&CONNECTION, "upgrade")
}

/// Adds the fields that ask for a WebSocket, or agree to one; forwarding has removed them.
pub(crate) fn set_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
}

/// Completes the response of an upstream to a request for a WebSocket. Returns the tunnel, if the upstream has
/// agreed. The upstream's response, `response`, counts as open until the tunnel ends.
pub(crate) fn accept(response: &mut Response<Body>, silence: Duration) -> Option<Tunnel> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    let upstream = response.extensions_mut().remove::<OnUpgrade>()?;
    set_upgrade(response.headers_mut());
    let open = std::mem::take(response.body_mut());
    Some(Box::new(move |client| {
        Box::pin(async move {
            if let Ok(upstream) = upstream.await {
                exchange(client, upstream, silence).await;
            }
            drop(open);
        })
    }))
}

async fn exchange(mut client: Box<dyn ClientSocket>, upstream: Upgraded, silence: Duration) {
    let moved = Arc::new(AtomicU64::new(0));
    let mut upstream = Counted { io: TokioIo::new(upstream), moved: Arc::clone(&moved) };
    tokio::select! {
        ended = copy_bidirectional(&mut client, &mut upstream) => {
            tracing::debug!(?ended, "WebSocket ended");
        }
        () = silent(&moved, silence) => {
            tracing::debug!(?silence, "WebSocket closed: neither side has sent anything");
        }
    }
}

/// Returns once nothing has moved for `silence`, or up to twice as long.
async fn silent(moved: &AtomicU64, silence: Duration) {
    let mut before = None;
    loop {
        let now = moved.load(Ordering::Relaxed);
        if before == Some(now) {
            return;
        }
        before = Some(now);
        tokio::time::sleep(silence).await;
    }
}

/// Counts the bytes of one side, which are those of both directions.
struct Counted<T> {
    io: T,
    moved: Arc<AtomicU64>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        self.moved.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(size)) = &written {
            self.moved.fetch_add(*size as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
