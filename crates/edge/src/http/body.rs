//! Message bodies: complete in memory, or streamed from the upstream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use cache::{BrokenBody, PartialBody};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use thiserror::Error;
use tokio::time::{Instant, Sleep};

use super::in_flight::ClientRequest;
use super::pace::{Pace, PaceLimits};
use super::partial_stream::PartialStream;
use crate::admission::budget::Slot;

/// The largest part of a body that is handed to a client's connection at once. The next part is asked for
/// once the client has room for it, which shows whether the client reads.
const PART_BYTES: usize = 64 << 10;

/// A body ended too early. The error reaches hyper, which closes the connection (or resets the
/// stream), so the receiver sees an incomplete message.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error("the body ended early: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the body paused for {:?}, or came at less than {} bytes/s", .0.pause, .0.rate)]
    TooSlow(PaceLimits),
    #[error("the load of the page broke off: {0}")]
    BrokenLoad(#[from] BrokenBody),
    #[error("the message is not complete after {0:?}")]
    TooLong(Duration),
}

/// A response body. An enum rather than a boxed trait object, so that a hit allocates nothing.
#[derive(Debug, Default)]
pub(crate) enum Body {
    #[default]
    Empty,
    Complete(Bytes),
    Stream(Box<Stream>),
    Partial(Box<PartialStream>),
}

impl Body {
    /// Returns a body that is complete in memory.
    pub(crate) fn complete(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Complete(bytes) }
    }

    /// Returns a body that is still being loaded.
    pub(crate) fn partial(body: &PartialBody) -> Self {
        Self::Partial(Box::new(PartialStream::new(body)))
    }

    /// Adds the bytes that are sent to `sent_bytes`, and keeps the client's connection in use until the body ends.
    pub(crate) fn attach(&mut self, sent_bytes: &Counter, client_request: ClientRequest) {
        match self {
            Self::Empty | Self::Complete(_) => {
                sent_bytes.inc_by(self.size_hint().lower());
            }
            Self::Stream(stream) => stream.attach(sent_bytes.clone(), client_request),
            Self::Partial(stream) => stream.attach(sent_bytes.clone(), client_request),
        }
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
            Self::Complete(bytes) if bytes.len() > PART_BYTES => {
                Poll::Ready(Some(Ok(Frame::data(bytes.split_to(PART_BYTES)))))
            }
            Self::Complete(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Stream(stream) => stream.poll_frame(cx),
            Self::Partial(stream) => stream
                .poll_piece(cx, PART_BYTES)
                .map(|piece| piece.map(|piece| Ok(Frame::data(piece?)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Complete(_) | Self::Partial(_) => false,
            Self::Stream(stream) => stream.prefix.is_empty() && stream.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Complete(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.size_hint(),
            Self::Partial(stream) => stream.size_hint(),
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
    /// The response counts as open, and the client's connection as in use, until the body ends.
    slot: Option<Slot>,
    client_request: Option<ClientRequest>,
}

impl Stream {
    pub(crate) fn new(rest: TimedBody, slot: Option<Slot>) -> Self {
        Self { prefix: VecDeque::new(), rest, sent_bytes: None, slot, client_request: None }
    }

    /// Counts the response in its budget until the body ends.
    pub(crate) fn hold(&mut self, slot: Slot) {
        self.slot = Some(slot);
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
        let mut frame = match self.prefix.pop_front() {
            Some(part) => Some(Ok(Frame::data(part))),
            None => ready!(self.rest.poll_frame(cx)),
        };
        if let Some(Ok(frame)) = &mut frame
            && let Some(data) = frame.data_mut()
            && data.len() > PART_BYTES
        {
            self.prefix.push_front(data.split_off(PART_BYTES));
        }
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

/// A received body that fails when its sender is too slow.
#[derive(Debug)]
pub(crate) struct TimedBody {
    body: Incoming,
    pace: Pace,
    /// The end of the whole message's time, and that time.
    deadline: Option<(Instant, Duration)>,
    /// Created at the first pause; most bodies never pause.
    timer: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    pub(crate) fn new(body: Incoming, limits: PaceLimits) -> Self {
        Self { body, pace: Pace::new(limits), deadline: None, timer: None }
    }

    /// The body fails also if it has not ended at `deadline`. `total`: the time that it then had.
    pub(crate) fn with_deadline(mut self, deadline: Instant, total: Duration) -> Self {
        self.deadline = Some((deadline, total));
        self
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
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            self.pace.moved(data.map_or(0, |data| data.len() as u64), Instant::now);
            if let (Some(_), Some(err)) = (&frame, self.overdue()) {
                return Poll::Ready(Some(Err(err)));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)));
        }
        if !self.pace.is_waiting() {
            let until = self.pace.wait(Instant::now());
            let until = self.deadline.map_or(until, |(deadline, _)| until.min(deadline));
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(until))),
            }
        }
        if let Some(timer) = &mut self.timer {
            ready!(timer.as_mut().poll(cx));
        }
        let err = self.overdue().unwrap_or_else(|| BodyError::TooSlow(self.pace.limits()));
        Poll::Ready(Some(Err(err)))
    }

    /// The error after the deadline.
    fn overdue(&self) -> Option<BodyError> {
        let (deadline, total) = self.deadline?;
        (Instant::now() >= deadline).then_some(BodyError::TooLong(total))
    }
}
