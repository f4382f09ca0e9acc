//! A stored response's status and headers, in the form kept in [`cache::Value::head`].
//!
//! Read once per hit, so it is made to be read without copying: header values become slices of the
//! stored bytes. All numbers are big-endian.
//!
//! ```text
//! form u8 = 1 │ flags u8 │ status u16 │ age u32 │ lifetime u32 │ count u16
//! count × ( name length u8 │ value length u16 │ name, lower case │ value )
//! ```
//!
//! The bytes may come back from a shared tier that somebody else wrote to: a head that is not of
//! this form is no head.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

const FORM: u8 = 1;
const SHARED: u8 = 1;
const REVALIDATE: u8 = 2;
const FIXED_BYTES: usize = 14;

/// What is known about a stored response beside its headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Facts {
    pub(crate) status: StatusCode,
    /// Explicitly shared: also for clients with cookies.
    pub(crate) shared: bool,
    /// May never be served beyond its lifetime.
    pub(crate) revalidate: bool,
    /// How old the response was when it was loaded, in seconds.
    pub(crate) age_s: u32,
    /// How long it was still fresh when it was loaded, in seconds.
    pub(crate) lifetime_s: u32,
}

/// Writes a head. `None`: a header is longer than the form can hold.
pub(crate) fn write(facts: Facts, headers: &HeaderMap) -> Option<Bytes> {
    let size: usize =
        headers.iter().map(|(name, value)| 3 + name.as_str().len() + value.len()).sum();
    let mut head = BytesMut::with_capacity(FIXED_BYTES + size);
    head.put_u8(FORM);
    head.put_u8(
        if facts.shared { SHARED } else { 0 } | if facts.revalidate { REVALIDATE } else { 0 },
    );
    head.put_u16(facts.status.as_u16());
    head.put_u32(facts.age_s);
    head.put_u32(facts.lifetime_s);
    head.put_u16(u16::try_from(headers.len()).ok()?);
    for (name, value) in headers {
        head.put_u8(u8::try_from(name.as_str().len()).ok()?);
        head.put_u16(u16::try_from(value.len()).ok()?);
        head.put_slice(name.as_str().as_bytes());
        head.put_slice(value.as_bytes());
    }
    Some(head.freeze())
}

/// Reads the fixed part and leaves the rest in `head`.
fn read_fixed(head: &mut Bytes) -> Option<(Facts, u16)> {
    if head.len() < FIXED_BYTES || head.get_u8() != FORM {
        return None;
    }
    let flags = head.get_u8();
    let facts = Facts {
        shared: flags & SHARED != 0,
        revalidate: flags & REVALIDATE != 0,
        status: StatusCode::from_u16(head.get_u16()).ok()?,
        age_s: head.get_u32(),
        lifetime_s: head.get_u32(),
    };
    Some((facts, head.get_u16()))
}

/// Reads a head; the headers have room for `spare` more.
pub(crate) fn read(head: &Bytes, spare: usize) -> Option<(Facts, HeaderMap)> {
    let mut head = head.clone();
    let (facts, count) = read_fixed(&mut head)?;
    // The count is foreign: no more room than the bytes could fill.
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
    (at == head.len()).then_some((facts, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { status: StatusCode::OK, shared: true, revalidate: false, age_s: 3, lifetime_s: 60 }
    }

    fn sample() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append("content-type", HeaderValue::from_static("text/html"));
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_bytes(b"\xe9").expect("a value"));
        headers
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let head = write(facts(), &sample()).expect("fits");
        assert_eq!(read(&head, 4), Some((facts(), sample())));
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let mut headers = HeaderMap::new();
        let long = HeaderValue::from_bytes(&vec![b'a'; 70_000]).expect("a value");
        headers.insert("x-long", long);
        assert_eq!(write(facts(), &headers), None);
    }

    #[test]
    fn foreign_bytes_are_no_head() {
        let head = write(facts(), &sample()).expect("fits");
        for end in 0..head.len() {
            assert_eq!(read(&head.slice(..end), 0), None, "cut at {end}");
        }
        for at in 0..head.len() {
            for byte in [0, 1, 0x0a, 0x7f, 0xff] {
                let mut foreign = head.to_vec();
                foreign[at] = byte;
                let _ = read(&foreign.into(), 0);
            }
        }
        assert_eq!(read(&[head.as_ref(), b"x"].concat().into(), 0), None);
    }
}
