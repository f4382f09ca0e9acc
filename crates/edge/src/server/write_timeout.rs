//! A client socket whose writes time out.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use listen::ClientStream;
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::http::in_flight::ConnectionActivity;
use crate::http::pace::{Pace, PaceLimits};

/// The time that a client which has closed its half of the connection waits for the next part of its response. One
/// that is gone looks the same until something is written to it, and holds its places meanwhile.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(10);

/// Fails a write whose client reads too slowly. Without the limit, a client that does not read could keep
/// its response in memory for any time.
#[derive(Debug)]
pub(crate) struct WriteTimeout {
    socket: ClientStream,
    activity: Arc<ConnectionActivity>,
    pace: Pace,
    /// Created at the first blocked write; most writes never block.
    timer: Option<Pin<Box<Sleep>>>,
    /// Created when the client closes its half of the connection.
    half_closed: Option<Pin<Box<Sleep>>>,
    slow_readers: Counter,
}

impl WriteTimeout {
    pub(crate) fn new(
        socket: ClientStream,
        activity: Arc<ConnectionActivity>,
        limits: PaceLimits,
        slow_readers: Counter,
    ) -> Self {
        let (timer, half_closed) = (None, None);
        Self { socket, activity, pace: Pace::new(limits), timer, half_closed, slow_readers }
    }

    /// Gives bytes back that were read: the next reads return them first.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        self.socket.unread(bytes);
    }

    fn limit(&mut self, cx: &mut Context<'_>, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if let Poll::Ready(written) = written {
            let bytes = written.as_ref().map_or(0, |bytes| *bytes as u64);
            self.pace.moved(bytes, Instant::now);
            self.activity.wrote(bytes);
            if let Some(timer) = &mut self.half_closed {
                timer.as_mut().reset(Instant::now() + HALF_CLOSED_TIMEOUT);
            }
            return Poll::Ready(written);
        }
        self.time_out(cx)
    }

    /// Waits until the client has been reading too slowly for too long.
    fn time_out<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T>> {
        if !self.pace.is_waiting() {
            self.activity.write_blocked();
            let until = self.pace.wait(Instant::now());
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(until))),
            }
        }
        if let Some(timer) = &mut self.timer {
            ready!(timer.as_mut().poll(cx));
        }
        self.slow_readers.inc();
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client reads too slowly")))
    }
}

impl AsyncRead for WriteTimeout {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let (free, before) = (buf.remaining(), buf.filled().len());
        let read = ready!(Pin::new(&mut self.socket).poll_read(cx, buf));
        let is_end = read.is_ok() && free > 0 && buf.filled().len() == before;
        if !is_end {
            self.activity.received();
        }
        if is_end && self.activity.awaits_last_response() {
            // The client has closed its half of the connection after its last request, and still reads. To hyper,
            // the end would mean that the client is gone. Writing finds out if it is.
            let new = || Box::pin(tokio::time::sleep(HALF_CLOSED_TIMEOUT));
            ready!(self.half_closed.get_or_insert_with(new).as_mut().poll(cx));
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for WriteTimeout {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        let progress = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.limit(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let progress = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.limit(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        // An encrypted stream has taken bytes that it could not write yet.
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Pending => self.time_out(cx),
            flushed => {
                if self.pace.is_waiting() {
                    self.pace.moved(0, Instant::now);
                    self.activity.wrote(0);
                }
                self.activity.flushed();
                flushed
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match Pin::new(&mut self.socket).poll_shutdown(cx) {
            Poll::Pending => self.time_out(cx),
            closed => closed,
        }
    }
}
