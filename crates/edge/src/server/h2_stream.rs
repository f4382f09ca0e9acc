//! HTTP/2 streams whose clients do not read.
//!
//! The flow control of HTTP/2 lets a client hold the responses of single streams back while its
//! connection goes on. Such a stream never blocks the socket, so each stream has a pace of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::rt::Executor;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, Sleep};

use crate::http::body::{Body, BodyError};
use crate::http::in_flight::ClientRequest;
use crate::http::pace::{Pace, PaceLimits};

/// The progress of the response on one stream.
#[derive(Debug, Default)]
pub(super) struct StreamProgress {
    /// The bytes that the connection has taken from the body.
    taken: AtomicU64,
    /// Whether the connection has all that there is so far, so that only the client is waited for.
    is_offered: AtomicBool,
}

impl StreamProgress {
    fn take(&self, bytes: u64) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        self.is_offered.store(true, Ordering::Relaxed);
    }

    fn withhold(&self) {
        self.is_offered.store(false, Ordering::Relaxed);
    }
}

/// The part of a connection that a response uses until its body has ended.
pub(super) enum ResponseGuard {
    /// A connection of HTTP/1.1 as a whole.
    Connection(#[expect(dead_code, reason = "held until the body ends")] ClientRequest),
    /// A stream of HTTP/2.
    Stream(Arc<StreamProgress>),
}

/// The body of a response.
pub(super) struct TrackedBody {
    pub(super) body: Body,
    pub(super) guard: Option<ResponseGuard>,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(ResponseGuard::Stream(progress)) = &self.guard {
            match &polled {
                Poll::Pending => progress.withhold(),
                Poll::Ready(frame) => {
                    let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
                    progress.take(data.map_or(0, |data| data.len() as u64));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs the streams of one connection, each as a task that ends when its client is too slow.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    /// The progress of the stream that is about to start: the connection calls the service for a request, and
    /// right after it starts the request's stream.
    next: Arc<Mutex<Option<Arc<StreamProgress>>>>,
    limits: PaceLimits,
    slow_readers: Counter,
}

impl StreamExecutor {
    pub(super) fn new(limits: PaceLimits, slow_readers: Counter) -> Self {
        Self { next: Arc::default(), limits, slow_readers }
    }

    /// Returns the progress of the stream that starts next.
    pub(super) fn start_stream(&self) -> Arc<StreamProgress> {
        Arc::clone(self.next.lock().insert(Arc::default()))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        match self.next.lock().take() {
            None => drop(tokio::spawn(stream)),
            Some(progress) => drop(tokio::spawn(PacedStream {
                stream: Box::pin(stream),
                progress,
                taken: 0,
                pace: Pace::new(self.limits),
                timer: None,
                slow_readers: self.slow_readers.clone(),
            })),
        }
    }
}

/// A stream that ends when its client is too slow. Dropping it resets the stream.
struct PacedStream<F> {
    stream: Pin<Box<F>>,
    progress: Arc<StreamProgress>,
    /// The bytes that were taken at the last poll.
    taken: u64,
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
    slow_readers: Counter,
}

impl<F: Future<Output = ()>> Future for PacedStream<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let taken = this.progress.taken.load(Ordering::Relaxed);
        let is_offered = this.progress.is_offered.load(Ordering::Relaxed);
        if taken != this.taken || !is_offered {
            this.pace.moved(taken - this.taken, Instant::now);
            this.taken = taken;
        }
        if !is_offered {
            return Poll::Pending;
        }
        if !this.pace.is_waiting() {
            let until = this.pace.wait(Instant::now());
            match &mut this.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => this.timer = Some(Box::pin(tokio::time::sleep_until(until))),
            }
        }
        if let Some(timer) = &mut this.timer {
            ready!(timer.as_mut().poll(cx));
        }
        tracing::debug!(limits = ?this.pace.limits(), "stream reset: the client does not read");
        this.slow_readers.inc();
        Poll::Ready(())
    }
}
