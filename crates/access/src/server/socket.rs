//! A client socket with time limits.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use listen::ClientStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketTimeouts {
    /// For the head of a request, from the start of the connection or the head's first byte.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// For a write without progress.
    pub(super) write: Duration,
}

/// The part of a request that the connection waits for. The number of requests tells one wait from the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wait {
    Head(u64),
    Idle(u64),
}

/// The requests of a connection, as its service counts them.
#[derive(Debug, Default)]
pub(super) struct Requests {
    started: AtomicU64,
    ended: AtomicU64,
    /// The bodies of requests that have not been read to their end.
    open_bodies: AtomicU64,
    /// Whether bytes have arrived after the last head or body.
    is_receiving: AtomicBool,
    /// Whether the system may not have all bytes of the responses.
    is_unflushed: AtomicBool,
}

impl Requests {
    pub(super) fn start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
        self.is_receiving.store(false, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn body_started(&self) {
        self.open_bodies.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn body_ended(&self) {
        self.open_bodies.fetch_sub(1, Ordering::Relaxed);
        self.is_receiving.store(false, Ordering::Relaxed);
    }

    /// Returns the number of requests, if the connection is between two messages, with all bytes of the last ones
    /// written, and read.
    pub(super) fn idle_after(&self) -> Option<u64> {
        let is_idle = !self.is_receiving.load(Ordering::Relaxed)
            && !self.is_unflushed.load(Ordering::Relaxed)
            && self.open_bodies.load(Ordering::Relaxed) == 0;
        self.at_rest().filter(|_| is_idle)
    }

    /// Returns the number of requests; `None` while one is in flight.
    fn at_rest(&self) -> Option<u64> {
        let started = self.started.load(Ordering::Relaxed);
        (started == self.ended.load(Ordering::Relaxed)).then_some(started)
    }
}

/// Fails reads and writes that take too long. A body has limits of its own.
pub(super) struct TimedSocket {
    socket: ClientStream,
    requests: Arc<Requests>,
    timeouts: SocketTimeouts,
    /// The number of requests before the head that has begun to arrive.
    head_begun: Option<u64>,
    read_wait: Option<Wait>,
    read_timer: Pin<Box<Sleep>>,
    is_write_blocked: bool,
    write_timer: Pin<Box<Sleep>>,
}

impl TimedSocket {
    pub(super) fn new(
        socket: ClientStream,
        requests: Arc<Requests>,
        timeouts: SocketTimeouts,
    ) -> Self {
        Self {
            socket,
            requests,
            timeouts,
            // A connection without a request counts as a head that has begun.
            head_begun: Some(0),
            read_wait: None,
            read_timer: Box::pin(tokio::time::sleep(timeouts.head)),
            is_write_blocked: false,
            write_timer: Box::pin(tokio::time::sleep(timeouts.write)),
        }
    }

    /// Gives bytes back that were read: the next reads return them first.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        self.socket.unread(bytes);
    }

    /// Limits the time in which the client reads nothing. A flush waits for it, too: an encrypted stream writes what
    /// it has taken later.
    fn limit_write<T>(&mut self, cx: &mut Context<'_>, polled: Poll<Result<T>>) -> Poll<Result<T>> {
        if polled.is_ready() {
            self.is_write_blocked = false;
            return polled;
        }
        if !self.is_write_blocked {
            self.is_write_blocked = true;
            self.write_timer.as_mut().reset(Instant::now() + self.timeouts.write);
        }
        ready!(self.write_timer.as_mut().poll(cx));
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for TimedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = &mut *self;
        let filled = buf.filled().len();
        let at_rest = this.requests.at_rest();
        if let Poll::Ready(read) = Pin::new(&mut this.socket).poll_read(cx, buf) {
            this.requests.is_receiving.store(true, Ordering::Relaxed);
            if buf.filled().len() > filled && this.head_begun.is_none_or(|n| Some(n) != at_rest) {
                this.head_begun = at_rest;
            }
            return Poll::Ready(read);
        }
        let Some(requests) = at_rest else {
            this.read_wait = None;
            return Poll::Pending;
        };
        let (wait, limit) = match this.head_begun == Some(requests) {
            true => (Wait::Head(requests), this.timeouts.head),
            false => (Wait::Idle(requests), this.timeouts.idle),
        };
        if this.read_wait != Some(wait) {
            this.read_wait = Some(wait);
            this.read_timer.as_mut().reset(Instant::now() + limit);
        }
        ready!(this.read_timer.as_mut().poll(cx));
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "no request arrived in time")))
    }
}

impl AsyncWrite for TimedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        self.requests.is_unflushed.store(true, Ordering::Relaxed);
        let polled = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.limit_write(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.requests.is_unflushed.store(true, Ordering::Relaxed);
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.limit_write(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_flush(cx);
        if polled.is_ready() {
            self.requests.is_unflushed.store(false, Ordering::Relaxed);
        }
        self.limit_write(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.limit_write(cx, polled)
    }
}
