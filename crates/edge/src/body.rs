//! The two ways a body leaves: whole from memory, or as it comes from the upstream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use thiserror::Error;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use crate::serve::InFlight;

/// A body that ended too early. It is never passed off as whole: hyper closes the connection (or
/// resets the stream), and the receiver sees that the message is incomplete.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error("the body broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("no part of the body came for {0:?}")]
    Stalled(Duration),
}

/// An answer's body. An enum, not a boxed trait object: a hit allocates nothing for it.
#[derive(Debug, Default)]
pub(crate) enum Body {
    #[default]
    Empty,
    Whole(Bytes),
    Stream(Box<Stream>),
}

impl Body {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Whole(bytes) }
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
            Self::Whole(bytes) => {
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
            Self::Whole(_) => false,
            Self::Stream(stream) => stream.prefix.is_empty() && stream.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

/// A body on its way from the upstream to the client.
#[derive(Debug)]
pub(crate) struct Stream {
    /// What was already read while we hoped to store it.
    prefix: VecDeque<Bytes>,
    rest: TimedBody,
    sent: Option<Counter>,
    /// The upstream counts as busy, and the client's connection as in use, until the body ended.
    _permit: Option<OwnedSemaphorePermit>,
    in_flight: Option<InFlight>,
}

impl Stream {
    pub(crate) fn new(rest: TimedBody, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self { prefix: VecDeque::new(), rest, sent: None, _permit: permit, in_flight: None }
    }

    /// Reads the next part ahead; to be given back with [`unread`](Self::unread) or kept.
    pub(crate) async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        std::future::poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// Puts parts that were read ahead back in front.
    pub(crate) fn unread(&mut self, parts: Vec<Bytes>) {
        for part in parts.into_iter().rev() {
            self.prefix.push_front(part);
        }
    }

    /// Counts what is handed on from here, and keeps the client's connection marked as in use.
    pub(crate) fn answering(&mut self, sent: Counter, in_flight: Option<InFlight>) {
        self.sent = Some(sent);
        self.in_flight = in_flight;
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match self.prefix.pop_front() {
            Some(part) => Some(Ok(Frame::data(part))),
            None => ready!(self.rest.poll_frame(cx)),
        };
        if let (Some(Ok(frame)), Some(sent)) = (&frame, &self.sent)
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

/// A foreign body with a limit on how long it may pause.
#[derive(Debug)]
pub(crate) struct TimedBody {
    body: Incoming,
    pause: Duration,
    /// Made at the first pause; most bodies never pause.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl TimedBody {
    pub(crate) fn new(body: Incoming, pause: Duration) -> Self {
        Self { body, pause, timer: None, waiting: false }
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
            self.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)));
        }
        let pause = self.pause;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        if !self.waiting {
            self.waiting = true;
            timer.as_mut().reset(Instant::now() + pause);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyError::Stalled(pause))))
    }
}
