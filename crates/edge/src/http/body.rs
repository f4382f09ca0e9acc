//! Message bodies: complete in memory, or streamed from the upstream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use thiserror::Error;
use tokio::time::{Instant, Sleep};

use super::in_flight::{ClientRequest, UpstreamPermit};

/// A body ended too early. The error reaches hyper, which closes the connection (or resets the
/// stream), so the receiver sees an incomplete message.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error("the body ended early: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the body stalled for {0:?}")]
    Stalled(Duration),
}

/// A response body. An enum rather than a boxed trait object, so that a hit allocates nothing.
#[derive(Debug, Default)]
pub(crate) enum Body {
    #[default]
    Empty,
    Complete(Bytes),
    Stream(Box<Stream>),
}

impl Body {
    /// Returns a body that is complete in memory.
    pub(crate) fn complete(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Complete(bytes) }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Complete(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Stream(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Complete(_) => false,
            Self::Stream(stream) => stream.prefix.is_empty() && stream.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Complete(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

/// A body streamed from the upstream to the client.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Parts that were read ahead while the body was a candidate for storage.
    prefix: VecDeque<Bytes>,
    rest: TimedBody,
    sent_bytes: Option<Counter>,
    /// The upstream counts as busy, and the client's connection as in use, until the body ends.
    _permit: Option<UpstreamPermit>,
    client_request: Option<ClientRequest>,
}

impl Stream {
    pub(crate) fn new(rest: TimedBody, permit: Option<UpstreamPermit>) -> Self {
        Self {
            prefix: VecDeque::new(),
            rest,
            sent_bytes: None,
            _permit: permit,
            client_request: None,
        }
    }

    /// Reads the next frame ahead. [`unread`](Self::unread) puts it back.
    pub(crate) async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        std::future::poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// Puts parts that were read ahead back in front.
    pub(crate) fn unread(&mut self, parts: Vec<Bytes>) {
        for part in parts.into_iter().rev() {
            self.prefix.push_front(part);
        }
    }

    /// Adds the bytes sent from here on to `sent_bytes`, and keeps the client's connection in use
    /// until the body ends.
    pub(crate) fn attach(&mut self, sent_bytes: Counter, client_request: ClientRequest) {
        self.sent_bytes = Some(sent_bytes);
        self.client_request = Some(client_request);
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match self.prefix.pop_front() {
            Some(part) => Some(Ok(Frame::data(part))),
            None => ready!(self.rest.poll_frame(cx)),
        };
        if let (Some(Ok(frame)), Some(sent)) = (&frame, &self.sent_bytes)
            && let Some(data) = frame.data_ref()
        {
            sent.inc_by(data.len() as u64);
        }
        Poll::Ready(frame)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let ahead: u64 = self.prefix.iter().map(|part| part.len() as u64).sum();
        let rest = self.rest.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + ahead);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + ahead);
        }
        hint
    }
}

/// A received body that fails when it pauses for longer than its limit.
#[derive(Debug)]
pub(crate) struct TimedBody {
    body: Incoming,
    max_pause: Duration,
    /// Created at the first pause; most bodies never pause.
    timer: Option<Pin<Box<Sleep>>>,
    paused: bool,
}

impl TimedBody {
    pub(crate) fn new(body: Incoming, max_pause: Duration) -> Self {
        Self { body, max_pause, timer: None, paused: false }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.paused = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)));
        }
        let max_pause = self.max_pause;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(max_pause)));
        if !self.paused {
            self.paused = true;
            timer.as_mut().reset(Instant::now() + max_pause);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyError::Stalled(max_pause))))
    }
}
