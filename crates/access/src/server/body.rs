//! The body of a request, with time limits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::socket::Requests;

/// An error of a body: the client's connection broke, or it sends too slowly.
type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request. It fails when it does not arrive in time; the time runs from the first read, so that
/// a request that waits for its turn does not lose it.
pub struct Body {
    inner: Incoming,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// The requests of the connection, until the body has been read to its end. A body that is dropped before leaves
    /// the connection with an open one.
    open: Option<Arc<Requests>>,
}

impl Body {
    pub(super) fn new(inner: Incoming, limit: Duration, requests: &Arc<Requests>) -> Self {
        let open = (!inner.is_end_stream()).then(|| Arc::clone(requests));
        if let Some(requests) = &open {
            requests.body_started();
        }
        Self { inner, limit, timer: None, open }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let limit = this.limit;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            let is_end = frame.is_none() || this.inner.is_end_stream();
            if let Some(requests) = this.open.take_if(|_| is_end) {
                requests.body_ended();
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)));
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(format!("the body did not arrive within {limit:?}").into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
