//! The encoding of a stored response's status and headers in [`cache::Value::head`].
//!
//! The head is decoded on every hit, so decoding does not copy: header values are slices of the
//! stored bytes. All numbers are big-endian.
//!
//! ```text
//! version u8 │ flags u8 │ status u16 │ age u32 │ lifetime u32 │ count u16
//! version 2 only: rules u64
//! count × ( name length u8 │ value length u16 │ name, lower case │ value )
//! ```
//!
//! Version 2 is a page whose bound the log proves, by the rules with the digest `rules`; version 1 is every
//! other page.
//!
//! The bytes may come from a shared tier with other writers. Decoding returns `None` for any bytes
//! that are not of this form.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

const BY_AGE: u8 = 1;
const BY_LOG: u8 = 2;
const SHARED: u8 = 1;
const REVALIDATE: u8 = 2;
const FIXED_BYTES: usize = 14;

/// The metadata of a stored response, beside its headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct StoredMetadata {
    pub(crate) status: StatusCode,
    /// Explicitly shared; requests with cookies may use it too.
    pub(crate) shared: bool,
    /// Never served beyond its lifetime.
    pub(crate) revalidate: bool,
    /// The response's age when it was loaded, in seconds.
    pub(crate) age_s: u32,
    /// The remaining lifetime when it was loaded, in seconds.
    pub(crate) lifetime_s: u32,
    /// The digest of the rules by which the page's tags prove its bound; `None`: its age alone does.
    pub(crate) proven_by: Option<u64>,
}

impl StoredMetadata {
    /// Returns the age of the response when it was loaded, at most: `Age` is in whole seconds (RFC 9111 §5.1).
    pub(crate) fn age(&self) -> Duration {
        Duration::from_secs(if self.age_s == 0 { 0 } else { u64::from(self.age_s) + 1 })
    }
}

/// Encodes a head. `None`: a header is longer than the encoding can hold.
pub(crate) fn encode(metadata: StoredMetadata, headers: &HeaderMap) -> Option<Bytes> {
    let size: usize =
        headers.iter().map(|(name, value)| 3 + name.as_str().len() + value.len()).sum();
    let mut head = BytesMut::with_capacity(FIXED_BYTES + 8 + size);
    head.put_u8(if metadata.proven_by.is_some() { BY_LOG } else { BY_AGE });
    head.put_u8(
        if metadata.shared { SHARED } else { 0 } | if metadata.revalidate { REVALIDATE } else { 0 },
    );
    head.put_u16(metadata.status.as_u16());
    head.put_u32(metadata.age_s);
    head.put_u32(metadata.lifetime_s);
    head.put_u16(u16::try_from(headers.len()).ok()?);
    if let Some(rules) = metadata.proven_by {
        head.put_u64(rules);
    }
    for (name, value) in headers {
        head.put_u8(u8::try_from(name.as_str().len()).ok()?);
        head.put_u16(u16::try_from(value.len()).ok()?);
        head.put_slice(name.as_str().as_bytes());
        head.put_slice(value.as_bytes());
    }
    Some(head.freeze())
}

/// Decodes the fixed part and leaves the rest in `head`.
fn decode_fixed(head: &mut Bytes) -> Option<(StoredMetadata, u16)> {
    if head.len() < FIXED_BYTES {
        return None;
    }
    let version = head.get_u8();
    if !matches!(version, BY_AGE | BY_LOG) {
        return None;
    }
    let flags = head.get_u8();
    let mut metadata = StoredMetadata {
        shared: flags & SHARED != 0,
        revalidate: flags & REVALIDATE != 0,
        status: StatusCode::from_u16(head.get_u16()).ok()?,
        age_s: head.get_u32(),
        lifetime_s: head.get_u32(),
        proven_by: None,
    };
    let count = head.get_u16();
    if version == BY_LOG {
        metadata.proven_by = Some(head.try_get_u64().ok()?);
    }
    Some((metadata, count))
}

/// Decodes a head. The header map has capacity for `spare` more headers.
pub(crate) fn decode(head: &Bytes, spare: usize) -> Option<(StoredMetadata, HeaderMap)> {
    let mut head = head.clone();
    let (metadata, count) = decode_fixed(&mut head)?;
    // The count is untrusted: the capacity is limited to the headers that the bytes can hold.
    let room = usize::from(count).min(head.len() / 3);
    let mut headers = HeaderMap::with_capacity(room + spare);
    let mut at = 0;
    for _ in 0..count {
        let lengths = head.get(at..at + 3)?;
        let name_end = at + 3 + usize::from(lengths[0]);
        let value_end = name_end + usize::from(u16::from_be_bytes([lengths[1], lengths[2]]));
        let name = HeaderName::from_lowercase(head.get(at + 3..name_end)?).ok()?;
        if value_end > head.len() {
            return None;
        }
        let value = HeaderValue::from_maybe_shared(head.slice(name_end..value_end)).ok()?;
        headers.try_append(name, value).ok()?;
        at = value_end;
    }
    (at == head.len()).then_some((metadata, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> StoredMetadata {
        StoredMetadata {
            status: StatusCode::OK,
            shared: true,
            revalidate: false,
            age_s: 3,
            lifetime_s: 60,
            proven_by: Some(7),
        }
    }

    fn sample() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append("content-type", HeaderValue::from_static("text/html"));
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_bytes(b"\xe9").expect("a value"));
        headers
    }

    #[test]
    fn encoded_head_decodes_unchanged() {
        for proven_by in [None, Some(u64::MAX)] {
            let metadata = StoredMetadata { proven_by, ..metadata() };
            let head = encode(metadata, &sample()).expect("fits");
            assert_eq!(decode(&head, 4), Some((metadata, sample())));
        }
    }

    #[test]
    fn oversized_header_not_encoded() {
        let mut headers = HeaderMap::new();
        let long = HeaderValue::from_bytes(&vec![b'a'; 70_000]).expect("a value");
        headers.insert("x-long", long);
        assert_eq!(encode(metadata(), &headers), None);
    }

    #[test]
    fn malformed_head_rejected() {
        let head = encode(metadata(), &sample()).expect("fits");
        for end in 0..head.len() {
            assert_eq!(decode(&head.slice(..end), 0), None, "cut at {end}");
        }
        for at in 0..head.len() {
            for byte in [0, 1, 0x0a, 0x7f, 0xff] {
                let mut changed = head.to_vec();
                changed[at] = byte;
                let _ = decode(&changed.into(), 0);
            }
        }
        assert_eq!(decode(&[head.as_ref(), b"x"].concat().into(), 0), None);
    }
}
