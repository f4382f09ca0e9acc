//! The body of a value that its origin is still sending.
//!
//! One writer, any number of readers. Each reader gets every part from the first one on, at its own pace, and the
//! writer waits for none of them, unless it no longer keeps the whole. A body has one end: complete or broken. One whose writer was dropped is broken,
//! so that a cancelled load never looks like a complete one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use thiserror::Error;

/// A body that is being received. Clones share it.
#[derive(Clone, Debug)]
pub struct PartialBody(Arc<Readable>);

/// A body that new readers can read from its first part on.
#[derive(Debug)]
struct Readable {
    state: Arc<Mutex<State>>,
    /// The size of the whole body, where the origin has stated it.
    length: Option<u64>,
}

/// Receives a body for its readers.
#[derive(Debug)]
pub struct PartialWriter(Arc<Mutex<State>>);

/// Reads a body from its first part on.
#[derive(Debug)]
pub struct PartialReader {
    state: Arc<Mutex<State>>,
    id: u64,
    /// The bytes that are left of a body of known size.
    left: Option<u64>,
}

/// A body that has no complete end for its reader.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0}")]
pub struct BrokenBody(Arc<str>);

#[derive(Debug, Default)]
struct State {
    parts: VecDeque<Bytes>,
    /// The number of parts that were dropped in front of `parts`.
    dropped: u64,
    bytes: u64,
    end: Option<Result<(), BrokenBody>>,
    /// Whether no reader can come any more.
    closed: bool,
    readers: HashMap<u64, ReaderState>,
    next_reader: u64,
    writer: Option<Waker>,
}

#[derive(Debug, Default)]
struct ReaderState {
    /// The number of parts that it has taken.
    taken: u64,
    waker: Option<Waker>,
}

impl State {
    fn wake_readers(&mut self) {
        self.readers.values_mut().filter_map(|reader| reader.waker.take()).for_each(Waker::wake);
    }

    /// Forgets the parts that all readers have taken.
    fn forget_taken(&mut self) {
        let taken = self.readers.values().map(|reader| reader.taken).min().unwrap_or(0);
        while self.dropped < taken
            && let Some(part) = self.parts.pop_front()
        {
            self.bytes -= part.len() as u64;
            self.dropped += 1;
        }
    }

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn end(&mut self, end: Result<(), BrokenBody>) {
        if self.end.is_none() {
            self.end = Some(end);
            self.wake_readers();
        }
    }
}

impl PartialBody {
    /// Creates a body. `length`: the size of the whole, if it is known.
    #[must_use]
    pub fn new(length: Option<u64>) -> (PartialWriter, Self) {
        let state = Arc::<Mutex<State>>::default();
        (PartialWriter(Arc::clone(&state)), Self(Arc::new(Readable { state, length })))
    }

    /// Returns a reader that begins with the first part.
    #[must_use]
    pub fn reader(&self) -> PartialReader {
        let Readable { state: shared, length } = &*self.0;
        let mut state = shared.lock();
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, ReaderState::default());
        PartialReader { state: Arc::clone(shared), id, left: *length }
    }
}

impl Drop for Readable {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.wake_writer();
    }
}

impl PartialWriter {
    /// Adds a part.
    pub fn push(&self, part: Bytes) {
        let mut state = self.0.lock();
        state.bytes += part.len() as u64;
        state.parts.push_back(part);
        state.wake_readers();
    }

    /// Ends the body: it is complete.
    pub fn complete(self) {
        self.0.lock().end(Ok(()));
    }

    /// Ends the body: it broke off.
    pub fn fail(self, why: &str) {
        self.0.lock().end(Err(BrokenBody(why.into())));
    }

    /// For a body that is no longer kept whole: waits until no further reader can come, and until less than
    /// `most_bytes` are left for the slowest reader. Returns false when there are no readers left.
    pub async fn room(&self, most_bytes: u64) -> bool {
        std::future::poll_fn(|cx| {
            let mut state = self.0.lock();
            if state.closed {
                if state.readers.is_empty() {
                    return Poll::Ready(false);
                }
                state.forget_taken();
                if state.bytes < most_bytes {
                    return Poll::Ready(true);
                }
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for PartialWriter {
    fn drop(&mut self) {
        self.0.lock().end(Err(BrokenBody("the load was given up".into())));
    }
}

impl PartialReader {
    /// Returns the next part; `None`: the body is complete.
    pub fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenBody>>> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(reader) = state.readers.get_mut(&self.id) else {
            return Poll::Ready(Some(Err(BrokenBody("the reader is not known".into()))));
        };
        // No part is forgotten that a reader has not taken.
        let at = usize::try_from(reader.taken.saturating_sub(state.dropped)).ok();
        let part = at.and_then(|at| state.parts.get(at));
        if let Some(part) = part {
            reader.taken += 1;
            self.left = self.left.map(|left| left.saturating_sub(part.len() as u64));
            let part = part.clone();
            state.wake_writer();
            return Poll::Ready(Some(Ok(part)));
        }
        match &state.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(broken)) => Poll::Ready(Some(Err(broken.clone()))),
            None => {
                reader.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Returns the number of bytes that are left, if the size of the whole is known.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        self.left
    }
}

impl Drop for PartialReader {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.readers.remove(&self.id);
        state.wake_writer();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn next(reader: &mut PartialReader) -> Option<Result<Bytes, BrokenBody>> {
        poll_fn(|cx| reader.poll_part(cx)).await
    }

    fn poll(reader: &mut PartialReader) -> Poll<Option<Result<Bytes, BrokenBody>>> {
        reader.poll_part(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn late_reader_gets_every_part() {
        let (writer, body) = PartialBody::new(Some(4));
        let mut early = body.reader();
        let waiting = tokio::spawn(async move {
            let first = next(&mut early).await;
            (first, next(&mut early).await, next(&mut early).await)
        });
        tokio::task::yield_now().await;
        writer.push(Bytes::from_static(b"ab"));
        let mut late = body.reader();
        writer.push(Bytes::from_static(b"cd"));
        writer.complete();
        let parts = [&b"ab"[..], b"cd"].map(|part| Some(Ok(Bytes::from_static(part))));
        let (first, second, end) = waiting.await.expect("no panic");
        assert_eq!(([first, second], end), (parts.clone(), None));
        assert_eq!(late.left(), Some(4));
        assert_eq!([next(&mut late).await, next(&mut late).await], parts);
        assert_eq!((next(&mut late).await, late.left()), (None, Some(0)));
    }

    #[test]
    fn dropped_writer_breaks_the_body() {
        let (writer, body) = PartialBody::new(None);
        let mut reader = body.reader();
        writer.push(Bytes::from_static(b"a"));
        drop(writer);
        assert!(
            matches!(poll(&mut reader), Poll::Ready(Some(Ok(_)))),
            "what has come is handed on"
        );
        assert!(matches!(poll(&mut reader), Poll::Ready(Some(Err(_)))));
        assert!(matches!(poll(&mut body.reader()), Poll::Ready(Some(Ok(_)))));
    }

    /// Of a body that is not kept whole, the slowest reader decides the pace, and memory is bounded.
    #[tokio::test]
    async fn slowest_reader_decides_the_pace() {
        let (writer, body) = PartialBody::new(None);
        let (mut fast, mut slow) = (body.reader(), body.reader());
        let mut waiting = boxed(writer.room(30));
        assert!(waiting.as_mut().poll(&mut noop()).is_pending(), "another reader may come");
        drop(body);
        assert!(waiting.await);
        for nth in 0..3 {
            assert!(writer.room(30).await);
            writer.push(Bytes::from(vec![nth; 10]));
            assert!(next(&mut fast).await.expect("a part").is_ok());
        }
        let mut waiting = boxed(writer.room(30));
        assert!(waiting.as_mut().poll(&mut noop()).is_pending(), "the slow one has taken nothing");
        for _ in 0..3 {
            assert!(next(&mut slow).await.expect("a part").is_ok());
        }
        assert!(waiting.await);
        assert_eq!(writer.0.lock().bytes, 0, "what all have taken is forgotten");
        drop((fast, slow));
        assert!(!writer.room(30).await, "no readers are left");
    }

    fn boxed<F: Future>(future: F) -> std::pin::Pin<Box<F>> {
        Box::pin(future)
    }

    fn noop() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }
}
