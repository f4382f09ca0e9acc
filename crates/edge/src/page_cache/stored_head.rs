//! The encoding of a stored response's status and headers in [`cache::Value::head`].
//!
//! The head is decoded on every hit, so decoding does not copy: header values are slices of the
//! stored bytes. All numbers are big-endian.
//!
//! ```text
//! version u8 │ flags u8 │ status u16 │ age u32 │ lifetime u32 │ count u16
//! versions 2 and 3 only: rules u64
//! version 3 only: load u64 │ sources u8
//! count × ( name length u8 │ value length u16 │ name, lower case │ value )
//! ```
//!
//! Version 2 is a page whose bound the log of the main source proves, by the rules with the digest `rules`. Version 3
//! depends on the logs of other sources: bit n of `sources` is the n-th of the rules' sources, and `load` is the number
//! of its load ([`coherence::joint`]). Version 1 is every other page.
//!
//! The bytes may come from a shared tier with other writers. Decoding returns `None` for any bytes
//! that are not of this form.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use coherence::LoadId;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

const BY_AGE: u8 = 1;
const BY_LOG: u8 = 2;
const BY_LOGS: u8 = 3;
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
    /// The logs that it depends on; `None`: that of the main source at most. Only beside `proven_by`.
    pub(crate) joint: Option<JointPage>,
}

/// A page that depends on the logs of other sources than the main one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct JointPage {
    /// The number of its load.
    pub(crate) load: LoadId,
    /// The sources that may raise its tags, as bits: the position in the list of the rules.
    pub(crate) sources: u8,
}

impl JointPage {
    /// Whether it depends on the source at this position of the list.
    pub(crate) fn depends_on(self, source: usize) -> bool {
        self.sources & (1 << source) != 0
    }
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
    let mut head = BytesMut::with_capacity(FIXED_BYTES + 17 + size);
    head.put_u8(match (metadata.proven_by, metadata.joint) {
        (None, _) => BY_AGE,
        (Some(_), None) => BY_LOG,
        (Some(_), Some(_)) => BY_LOGS,
    });
    head.put_u8(
        if metadata.shared { SHARED } else { 0 } | if metadata.revalidate { REVALIDATE } else { 0 },
    );
    head.put_u16(metadata.status.as_u16());
    head.put_u32(metadata.age_s);
    head.put_u32(metadata.lifetime_s);
    head.put_u16(u16::try_from(headers.len()).ok()?);
    if let Some(rules) = metadata.proven_by {
        head.put_u64(rules);
        if let Some(JointPage { load, sources }) = metadata.joint {
            head.put_u64(load.0);
            head.put_u8(sources);
        }
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
    if !matches!(version, BY_AGE | BY_LOG | BY_LOGS) {
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
        joint: None,
    };
    let count = head.get_u16();
    if version != BY_AGE {
        metadata.proven_by = Some(head.try_get_u64().ok()?);
    }
    if version == BY_LOGS {
        let load = LoadId(head.try_get_u64().ok()?);
        metadata.joint = Some(JointPage { load, sources: head.try_get_u8().ok()? });
    }
    Some((metadata, count))
}

/// Decodes the fixed part of a page that depends on the logs of other sources; `None`: it does not.
pub(crate) fn decode_joint(head: &Bytes) -> Option<(StoredMetadata, JointPage)> {
    if *head.first()? != BY_LOGS {
        return None;
    }
    let (metadata, _) = decode_fixed(&mut head.clone())?;
    Some((metadata, metadata.joint?))
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
            joint: None,
        }
    }

    fn joint() -> StoredMetadata {
        StoredMetadata {
            joint: Some(JointPage { load: LoadId(u64::MAX - 1), sources: 0b101 }),
            ..metadata()
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
        let by = |proven_by| StoredMetadata { proven_by, ..metadata() };
        for metadata in [by(None), by(Some(u64::MAX)), joint()] {
            let head = encode(metadata, &sample()).expect("fits");
            assert_eq!(decode(&head, 4), Some((metadata, sample())));
            assert_eq!(decode_joint(&head), metadata.joint.map(|joint| (metadata, joint)));
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
        let head = encode(joint(), &sample()).expect("fits");
        for end in 0..head.len() {
            assert_eq!(decode(&head.slice(..end), 0), None, "cut at {end}");
            let _ = decode_joint(&head.slice(..end));
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
