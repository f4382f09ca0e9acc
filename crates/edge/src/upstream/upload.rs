//! Request bodies on their way to the upstream.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::http::body::{BodyError, TimedBody};

/// The body of a request to the upstream: empty, or streamed from the client.
#[derive(Debug)]
pub(crate) struct RequestBody(Option<Upload>);

#[derive(Debug)]
struct Upload {
    body: TimedBody,
    frames: Arc<AtomicU64>,
}

/// The progress of an upload.
#[derive(Debug)]
pub(crate) struct Progress(Option<Arc<AtomicU64>>);

impl Progress {
    /// The number of frames sent so far.
    pub(crate) fn frames(&self) -> u64 {
        self.0.as_ref().map_or(0, |frames| frames.load(Ordering::Relaxed))
    }
}

impl RequestBody {
    pub(crate) fn empty() -> Self {
        Self(None)
    }

    /// Streams the client's body. It fails when the client pauses for longer than `max_pause`.
    pub(crate) fn streamed(body: Incoming, max_pause: Duration) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self(Some(Upload { body: TimedBody::new(body, max_pause), frames: Arc::default() }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress(self.0.as_ref().map(|upload| Arc::clone(&upload.frames)))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(upload) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(upload.body.poll_frame(cx));
        upload.frames.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|upload| upload.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |upload| upload.body.size_hint())
    }
}
