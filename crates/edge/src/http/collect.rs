//! Reading a streamed body into memory, up to a limit.

use bytes::{Bytes, BytesMut};
use http_body::Frame;

use super::body::Stream;

/// The parts of a body that have been read so far.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) parts: Vec<Bytes>,
    size: u64,
    max_bytes: u64,
}

/// How reading a body has ended.
#[derive(Debug)]
pub(crate) enum CollectEnd {
    /// The body is complete.
    Complete,
    /// The body exceeds the limit.
    TooLarge,
    /// The body ended early, and why.
    Incomplete(String),
}

/// The result of [`collect`].
pub(crate) enum Collected {
    /// The complete body.
    Complete(Bytes),
    /// The body exceeds the limit.
    TooLarge,
    /// The body ended early, and why.
    Incomplete(String),
}

impl Collector {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { parts: Vec::new(), size: 0, max_bytes }
    }

    /// Reads `body` to its end, or until it exceeds the limit. `each` sees each part. A call that is dropped loses
    /// no part.
    pub(crate) async fn run(&mut self, body: &mut Stream, each: impl Fn(&Bytes)) -> CollectEnd {
        while let Some(frame) = body.next().await {
            let part = match frame.map(Frame::into_data) {
                Ok(Ok(part)) => part,
                // Trailers may be dropped when a response is stored (RFC 9110 §6.5.1).
                Ok(Err(_)) => continue,
                Err(err) => return CollectEnd::Incomplete(err.to_string()),
            };
            self.size += part.len() as u64;
            each(&part);
            self.parts.push(part);
            if self.size > self.max_bytes {
                return CollectEnd::TooLarge;
            }
        }
        CollectEnd::Complete
    }

    /// The body of the parts.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        if self.parts.len() == 1
            && let Some(part) = self.parts.pop()
        {
            // A short body may be a slice of a large read buffer, which it would keep alive.
            return Bytes::copy_from_slice(&part);
        }
        let size = usize::try_from(self.size).unwrap_or_default();
        let mut complete = BytesMut::with_capacity(size);
        self.parts.iter().for_each(|part| complete.extend_from_slice(part));
        complete.freeze()
    }
}

/// Reads `body` to its end, or until it exceeds `max_bytes`.
pub(crate) async fn collect(body: &mut Stream, max_bytes: u64) -> Collected {
    let mut collector = Collector::new(max_bytes);
    match collector.run(body, |_| ()).await {
        CollectEnd::Complete => Collected::Complete(collector.into_bytes()),
        CollectEnd::TooLarge => Collected::TooLarge,
        CollectEnd::Incomplete(text) => Collected::Incomplete(text),
    }
}
