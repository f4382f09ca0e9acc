//! The format of an entry in Redis.
//!
//! One line of text, then head and body as they are:
//! ```text
//! tg3 <epoch> <τ> <stamp> <p|a|u> <loaded ms> <cost µs> <ttl ms> <seen> <definition> <head bytes> <body bytes>[ <tag>…]⏎
//! ```
//! `p`resent, `a`bsent, `u`ncacheable. A signed entry is the same with `tg4` and a signature behind it
//! ([`signatures`](super::signatures)). The scripts read the line too. A reader that finds another format
//! (`tg2`, …) removes it: it is a cache.
//!
//! An entry whose value changes by the clock has `<P|A> <changes at, µs>` in place of `<p|a>`, so that the signature covers it, and
//! `tg5` or `tg6` in front for nodes that do not know of it.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use coherence::{ClockTime, Lsn};
use contract::Tag;

use crate::entry::{Content, Entry, Value};

/// Returns the milliseconds for `PX`: at least one, and at most about 31 years, which Redis's clock can add.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, 1_000_000_000_000)
}

/// Returns the entry from the space after its stamp on. The script writes the part before.
pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let none = Value::default();
    let (kind, value) = match &entry.content {
        Content::Present(value) => ('p', value),
        Content::Absent => ('a', &none),
        Content::Uncacheable => ('u', &none),
    };
    let kind = match entry.changes_at {
        None => kind.to_string(),
        Some(at) => format!("{} {}", kind.to_ascii_uppercase(), at.micros()),
    };
    let mut line = format!(
        " {kind} {} {} {} {} {:x} {} {}",
        entry.loaded_wall_ms,
        entry.cost_us,
        millis(entry.ttl),
        entry.seen.0,
        entry.definition,
        value.head.len(),
        value.body.len(),
    );
    for tag in entry.tags.iter() {
        // Writing to a String can't fail.
        let _ = write!(line, " {}", tag.as_str());
    }
    line.push('\n');
    let mut bytes = line.into_bytes();
    bytes.reserve_exact(value.head.len() + value.body.len());
    bytes.extend_from_slice(&value.head);
    bytes.extend_from_slice(&value.body);
    bytes
}

/// Parses an entry whose signature was verified and removed. `None`: it is malformed.
pub(super) fn decode(raw: Vec<u8>) -> Option<Entry> {
    let raw = Bytes::from(raw);
    let end = raw.iter().position(|byte| *byte == b'\n')?;
    let mut words = std::str::from_utf8(&raw[..end]).ok()?.split(' ');
    let number = |words: &mut std::str::Split<'_, char>| words.next()?.parse::<u64>().ok();

    if !matches!(words.next(), Some("tg3" | "tg4" | "tg5" | "tg6")) {
        return None;
    }
    let _epoch = words.next()?;
    let tau = Lsn(number(&mut words)?);
    let _stamp = number(&mut words)?;
    let kind = words.next()?;
    let changes_at = match kind {
        "P" | "A" => Some(ClockTime::from_micros(number(&mut words)?)?),
        _ => None,
    };
    let loaded_wall_ms = number(&mut words)?;
    let cost_us = u32::try_from(number(&mut words)?).unwrap_or(u32::MAX);
    let ttl = Duration::from_millis(number(&mut words)?);
    let seen = Lsn(number(&mut words)?);
    let definition = u64::from_str_radix(words.next()?, 16).ok()?;
    let head_len = usize::try_from(number(&mut words)?).ok()?;
    let body_len = usize::try_from(number(&mut words)?).ok()?;
    let tags = words.map(Tag::parse).collect::<Result<_, _>>().ok()?;

    let rest = raw.slice(end + 1..);
    if head_len.checked_add(body_len) != Some(rest.len()) {
        return None;
    }
    let content = match kind {
        "p" | "P" => {
            let (head, body) = (rest.slice(..head_len), rest.slice(head_len..));
            Content::Present(Value { head, body })
        }
        "a" | "A" if rest.is_empty() => Content::Absent,
        "u" if rest.is_empty() => Content::Uncacheable,
        _ => return None,
    };
    Some(Entry { content, tau, tags, loaded_wall_ms, ttl, seen, definition, changes_at, cost_us })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Completes the entry as the fill script does.
    fn written(entry: &Entry) -> Vec<u8> {
        let mut raw = format!("tg3 1.2.3.4 {} 0", entry.tau.0).into_bytes();
        raw.extend(encode(entry));
        raw
    }

    fn entries() -> impl Strategy<Value = Entry> {
        let content = prop_oneof![
            (any::<Vec<u8>>(), any::<Vec<u8>>()).prop_map(|(head, body)| {
                Content::Present(Value { head: head.into(), body: body.into() })
            }),
            Just(Content::Absent),
            Just(Content::Uncacheable),
        ];
        let tags = proptest::collection::vec("[!-~]{1,20}", 0..4);
        let ttl_ms = 1..1_000_000_000_000_u64;
        (content, tags, any::<[u64; 6]>(), ttl_ms).prop_map(
            |(content, tags, [tau, seen, loaded_wall_ms, cost, definition, changes], ttl)| Entry {
                // An even number: it does not change by the clock.
                changes_at: ClockTime::from_micros(changes)
                    .filter(|_| changes % 2 == 1 && content != Content::Uncacheable),
                content,
                tau: Lsn(tau),
                tags: tags.iter().map(|tag| Tag::parse(tag).expect("a tag")).collect(),
                loaded_wall_ms,
                ttl: Duration::from_millis(ttl),
                seen: Lsn(seen),
                definition,
                cost_us: cost as u32,
            },
        )
    }

    proptest! {
        #[test]
        fn decode_reverses_encode(entry in entries()) {
            prop_assert_eq!(decode(written(&entry)), Some(entry));
        }

        #[test]
        fn truncated_entry_rejected(entry in entries(), cut in any::<prop::sample::Index>()) {
            let mut raw = written(&entry);
            raw.truncate(cut.index(raw.len()));
            prop_assert_eq!(decode(raw), None);
        }

        #[test]
        fn malformed_bytes_never_panic(
            line in "(tg[35] )?[0-9a-fpuPA. -]{0,60}\n?", tail in any::<Vec<u8>>(),
        ) {
            let mut raw = line.into_bytes();
            raw.extend(tail);
            let _ = decode(raw);
        }
    }
}
