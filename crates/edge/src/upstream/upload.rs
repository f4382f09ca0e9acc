//! Request bodies on their way to the upstream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::SetOnce;

use crate::admission::budget::Slot;
use crate::http::body::{BodyError, TimedBody};
use crate::http::pace::PaceLimits;

/// The body of a request to the upstream: empty, or an upload of the client.
#[derive(Debug)]
pub(crate) struct RequestBody(Option<Upload>);

#[derive(Debug)]
struct Upload {
    /// The frames that were received ahead.
    ahead: VecDeque<Frame<Bytes>>,
    /// The rest, from the client; `None`: all of it was received ahead.
    rest: Option<TimedBody>,
    /// Counts the upload as open until the client has sent it.
    slot: Option<Slot>,
    state: Arc<UploadState>,
}

#[derive(Debug, Default)]
struct UploadState {
    frames: AtomicU64,
    sent: SetOnce<()>,
}

/// The progress of an upload.
#[derive(Debug)]
pub(crate) struct Progress(Option<Arc<UploadState>>);

impl Progress {
    /// The number of frames sent so far.
    pub(crate) fn frames(&self) -> u64 {
        self.0.as_ref().map_or(0, |state| state.frames.load(Ordering::Relaxed))
    }

    /// Waits until the whole body has been sent.
    pub(crate) async fn sent(&self) {
        if let Some(state) = &self.0 {
            state.sent.wait().await;
        }
    }
}

impl RequestBody {
    pub(crate) fn empty() -> Self {
        Self(None)
    }

    /// The client's body. It fails when the client is slower than `limits`.
    pub(crate) fn streamed(body: Incoming, limits: PaceLimits) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        let (ahead, rest) = (VecDeque::new(), Some(TimedBody::new(body, limits)));
        Self(Some(Upload { ahead, rest, slot: None, state: Arc::default() }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the client has still to send a part of it.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.0.as_ref().is_some_and(|upload| upload.rest.is_some())
    }

    /// Counts an upload in its budget until the client has sent it.
    pub(crate) fn hold(&mut self, slot: Slot) {
        if let Some(upload) = &mut self.0 {
            upload.slot = Some(slot);
        }
    }

    /// Receives the body ahead: all of it, or until more than `max_bytes` have come.
    pub(crate) async fn receive(&mut self, max_bytes: usize) -> Result<(), BodyError> {
        let Some(upload) = &mut self.0 else { return Ok(()) };
        let mut received = 0;
        while let Some(rest) = &mut upload.rest
            && received <= max_bytes
        {
            match std::future::poll_fn(|cx| rest.poll_frame(cx)).await.transpose()? {
                Some(frame) => {
                    received += frame.data_ref().map_or(0, Bytes::len);
                    upload.ahead.push_back(frame);
                }
                None => {
                    upload.rest = None;
                    upload.slot = None;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress(self.0.as_ref().map(|upload| Arc::clone(&upload.state)))
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
        let frame = match (upload.ahead.pop_front(), &mut upload.rest) {
            (Some(frame), _) => Some(Ok(frame)),
            (None, Some(rest)) => ready!(rest.poll_frame(cx)),
            (None, None) => None,
        };
        upload.state.frames.fetch_add(1, Ordering::Relaxed);
        if frame.is_none() || upload.is_sent() {
            upload.slot = None;
            let _ = upload.state.sent.set(());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Upload::is_sent)
    }

    fn size_hint(&self) -> SizeHint {
        let Some(upload) = &self.0 else { return SizeHint::with_exact(0) };
        let ahead = upload.ahead.iter().filter_map(Frame::data_ref);
        let ahead: u64 = ahead.map(|data| data.len() as u64).sum();
        let rest =
            upload.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), TimedBody::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + ahead);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + ahead);
        }
        hint
    }
}

impl Upload {
    fn is_sent(&self) -> bool {
        self.ahead.is_empty() && self.rest.as_ref().is_none_or(TimedBody::is_end_stream)
    }
}
