//! Reading a streamed body into memory, up to a limit.

use bytes::{Bytes, BytesMut};
use http_body::Frame;

use super::body::Stream;

/// The result of [`collect`].
pub(crate) enum Collected {
    /// The complete body.
    Complete(Bytes),
    /// The body exceeds the limit; the parts read so far.
    TooLarge(Vec<Bytes>),
    /// The body ended early, and why.
    Incomplete(String),
}

/// Reads `body` to its end, or until it exceeds `max_bytes`.
pub(crate) async fn collect(body: &mut Stream, max_bytes: u64) -> Collected {
    let mut parts: Vec<Bytes> = Vec::new();
    let mut size = 0_u64;
    while let Some(frame) = body.next().await {
        let part = match frame.map(Frame::into_data) {
            Ok(Ok(part)) => part,
            // Trailers may be dropped when a response is stored (RFC 9110 §6.5.1).
            Ok(Err(_)) => continue,
            Err(err) => return Collected::Incomplete(err.to_string()),
        };
        size += part.len() as u64;
        parts.push(part);
        if size > max_bytes {
            return Collected::TooLarge(parts);
        }
    }
    if parts.len() == 1
        && let Some(part) = parts.pop()
    {
        // A short body may be a slice of a large read buffer, which it would keep alive.
        return Collected::Complete(Bytes::copy_from_slice(&part));
    }
    let mut complete = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
    parts.iter().for_each(|part| complete.extend_from_slice(part));
    Collected::Complete(complete.freeze())
}
