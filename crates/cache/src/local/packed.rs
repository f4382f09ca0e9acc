//! The layout of an entry's key, value and tags in the memory of the entry.
//!
//! A small value is behind the key of its entry, with its head and its tags, so that the entry is one allocation; a
//! reader of the value copies it. A large value is outside, and readers share it.

use std::sync::Arc;

use bytes::Bytes;
use contract::{Key, Tag};

use crate::entry::{Content, Value};

/// The bytes of value and tags up to which they are packed. A page is larger, and is answered without a copy.
const MAX_PACKED: usize = 1_024;

/// Between two tags. No tag contains it.
const SEPARATOR: u8 = b' ';

/// The kind of a content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Present,
    Absent,
    Uncacheable,
}

/// The lengths of the parts: the key, then the body, then the head, then the tags.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    key: u16,
    body: u16,
    head: u16,
    pub(super) kind: Kind,
}

/// The value and the tags of an entry that are not packed.
#[derive(Clone, Debug)]
pub(super) struct Outside {
    pub(super) value: Value,
    pub(super) tags: Arc<[Tag]>,
}

/// The parts of an entry in the form in which they are stored.
pub(super) struct Packed {
    pub(super) layout: Layout,
    pub(super) bytes: Vec<u8>,
    pub(super) outside: Option<Box<Outside>>,
}

impl Packed {
    pub(super) fn new(key: &Key, content: &Content, tags: &Arc<[Tag]>) -> Self {
        let none = Value::default();
        let (kind, value) = match content {
            Content::Present(value) => (Kind::Present, value),
            Content::Absent => (Kind::Absent, &none),
            Content::Uncacheable => (Kind::Uncacheable, &none),
        };
        let key = key.as_bytes();
        let texts: usize = tags.iter().map(|tag| tag.as_str().len() + 1).sum();
        let packed = value.body.len() + value.head.len() + texts;
        let len = |len: usize| u16::try_from(len).expect("a key has at most 512 bytes");
        if packed > MAX_PACKED {
            let layout = Layout { key: len(key.len()), body: 0, head: 0, kind };
            let outside = Outside { value: compact(value), tags: Arc::clone(tags) };
            return Self { layout, bytes: key.to_vec(), outside: Some(Box::new(outside)) };
        }
        let mut bytes = Vec::with_capacity(key.len() + packed);
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(&value.body);
        bytes.extend_from_slice(&value.head);
        for (n, tag) in tags.iter().enumerate() {
            bytes.extend((n > 0).then_some(SEPARATOR));
            bytes.extend_from_slice(tag.as_str().as_bytes());
        }
        let (body, head) = (len(value.body.len()), len(value.head.len()));
        Self { layout: Layout { key: len(key.len()), body, head, kind }, bytes, outside: None }
    }
}

impl Layout {
    #[inline]
    pub(super) fn key(self, bytes: &[u8]) -> &[u8] {
        &bytes[..usize::from(self.key)]
    }

    /// Returns the packed value.
    pub(super) fn value(self, bytes: &[u8]) -> Value {
        let [body, head] = [self.body, self.head].map(usize::from);
        let (body, rest) = bytes[usize::from(self.key)..].split_at(body);
        Value { head: Bytes::copy_from_slice(&rest[..head]), body: Bytes::copy_from_slice(body) }
    }

    /// Returns the packed tags.
    pub(super) fn tags(self, bytes: &[u8]) -> impl Iterator<Item = &str> + Clone {
        let start = [self.key, self.body, self.head].map(usize::from).iter().sum();
        let texts = bytes[start..].split(|byte| *byte == SEPARATOR);
        texts.filter(|text| !text.is_empty()).map(ascii)
    }
}

/// Returns the text of a key or a tag.
pub(super) fn ascii(text: &[u8]) -> &str {
    str::from_utf8(text).expect("keys and tags are ASCII")
}

/// Copies a value into memory of its own: one from an origin or a tier may be a small slice of a large buffer, which
/// the in-process tier's limit would not count.
fn compact(value: &Value) -> Value {
    let mut bytes = Vec::with_capacity(value.head.len() + value.body.len());
    // The body first, where the allocator aligns it: the kernel copies it to a socket with each hit, which
    // takes half as long again from an unaligned address.
    bytes.extend_from_slice(&value.body);
    bytes.extend_from_slice(&value.head);
    let body = value.body.len();
    let bytes = Bytes::from(bytes);
    if value.head.is_empty() {
        return Value { head: Bytes::new(), body: bytes };
    }
    Value { head: bytes.slice(body..), body: bytes.slice(..body) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(packed: &Packed) -> (Value, Vec<String>) {
        if let Some(outside) = &packed.outside {
            let tags = outside.tags.iter().map(|tag| tag.as_str().to_owned());
            return (outside.value.clone(), tags.collect());
        }
        let Packed { layout, bytes, .. } = packed;
        (layout.value(bytes), layout.tags(bytes).map(str::to_owned).collect())
    }

    proptest! {
        #[test]
        fn parts_come_back(
            body in proptest::collection::vec(any::<u8>(), 0..1_200),
            head in proptest::collection::vec(any::<u8>(), 0..40),
            tags in proptest::collection::vec("[!-~]{1,20}", 0..6),
        ) {
            let key = Key::parse("v1:catalog:price:7").expect("a key");
            let value = Value { head: head.into(), body: body.into() };
            let list: Arc<[Tag]> =
                tags.iter().map(|tag| Tag::parse(tag).expect("a tag")).collect();
            let packed = Packed::new(&key, &Content::Present(value.clone()), &list);
            prop_assert_eq!(packed.layout.key(&packed.bytes), key.as_bytes());
            prop_assert_eq!(parts(&packed), (value, tags));
            let absent = Packed::new(&key, &Content::Absent, &list);
            prop_assert_eq!(absent.layout.kind, Kind::Absent);
            prop_assert_eq!(parts(&absent).1.len(), list.len());
        }
    }

    #[test]
    fn large_value_is_copied_once_and_shared() {
        let key = Key::parse("v1:catalog:price:7").expect("a key");
        let buffer = Bytes::from(vec![b'x'; 1 << 20]);
        let value = Value { head: buffer.slice(..10), body: buffer.slice(10..4_106) };
        let packed = Packed::new(&key, &Content::Present(value.clone()), &Arc::default());
        let outside = packed.outside.expect("it is large");
        assert_eq!(outside.value, value);
        assert!(!buffer.as_ptr_range().contains(&outside.value.body.as_ptr()), "its own memory");
        assert_eq!(outside.value.body.as_ptr().align_offset(16), 0);
        assert_eq!(packed.bytes, key.as_bytes());
    }
}
