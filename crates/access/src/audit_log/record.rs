//! The records of the audit log, and the rule of their chain.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use contract::config::ValueError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The text between the hashed part of a line and its hash.
const BEFORE_HASH: &str = ",\"hash\":\"";

/// The text after the hash.
const AFTER_HASH: &str = "\"}";

const HASH_DIGITS: usize = 64;

/// A SHA-256.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Hash([u8; 32]);

impl Hash {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Hash {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != HASH_DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        let mut hash = [0; 32];
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| ())?;
        }
        Ok(Self(hash))
    }
}

/// One record's number and hash. Kept elsewhere, it proves later that the records up to it are still the same.
/// Its text is `NUMBER:HASH`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Anchor {
    /// The number of the record, from 1.
    pub number: u64,
    pub(super) hash: Hash,
}

impl Anchor {
    /// The state before the first record.
    pub(super) const START: Self = Self { number: 0, hash: Hash([0; 32]) };
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.hash)
    }
}

impl FromStr for Anchor {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let parse = |text: &str| {
            let (number, hash) = text.split_once(':')?;
            Some(Self { number: number.parse().ok()?, hash: hash.parse().ok()? })
        };
        parse(text).ok_or_else(|| {
            ValueError::wrong_value(
                format!("{text:?} is not an anchor"),
                "write NUMBER:HASH, as the node's log and `/api/v1/status` show it",
            )
        })
    }
}

/// An action to be recorded.
#[derive(Clone, Debug)]
pub struct Action {
    /// The name of the access token, or the system's user.
    pub by: String,
    /// The address of the connection; `None`: a command on this machine.
    pub from: Option<IpAddr>,
    /// The name of the action, such as `purge`.
    pub name: &'static str,
    /// Its arguments or its result.
    pub detail: Value,
}

impl Action {
    /// An action of the node itself.
    pub(super) fn of_node(name: &'static str, detail: Value) -> Self {
        Self { by: "tidegate".to_owned(), from: None, name, detail }
    }
}

/// The hashed part of a record, as it is written.
#[derive(Serialize)]
struct Written<'a> {
    number: u64,
    previous: String,
    time: String,
    by: &'a str,
    from: String,
    action: &'a str,
    detail: &'a Value,
}

/// The parts of a record that a check needs.
#[derive(Deserialize)]
struct Read {
    number: u64,
    previous: String,
    action: String,
    #[serde(default)]
    detail: Value,
    /// Present, so that a line without the suffix is noticed.
    #[serde(rename = "hash")]
    _hash: String,
}

/// A record whose own hash is right.
#[derive(Debug)]
pub(super) struct CheckedRecord {
    pub(super) anchor: Anchor,
    pub(super) previous: Anchor,
    pub(super) action: String,
    pub(super) detail: Value,
}

/// Returns the line of the record after `head`, and its anchor. `time_us`: µs since 1970.
pub(super) fn next_line(head: Anchor, action: &Action, time_us: u64) -> (String, Anchor) {
    let number = head.number + 1;
    let time = UNIX_EPOCH.checked_add(Duration::from_micros(time_us)).unwrap_or(UNIX_EPOCH);
    let written = Written {
        number,
        previous: head.hash.to_string(),
        time: humantime::format_rfc3339_micros(time).to_string(),
        by: &action.by,
        from: action.from.map_or_else(|| "this machine".to_owned(), |from| from.to_string()),
        action: action.name,
        detail: &action.detail,
    };
    let text = serde_json::to_string(&written).expect("texts, a number and JSON can be written");
    let hashed = &text[..text.len() - 1];
    let hash = Hash::of(hashed.as_bytes());
    (format!("{hashed}{BEFORE_HASH}{hash}{AFTER_HASH}\n"), Anchor { number, hash })
}

/// Checks a line, without its end, by its own hash.
///
/// # Errors
/// The reason why it is no record, or not the one that was written.
pub(super) fn check_line(line: &[u8]) -> Result<CheckedRecord, String> {
    let suffix = BEFORE_HASH.len() + HASH_DIGITS + AFTER_HASH.len();
    let (hashed, suffix) = line
        .len()
        .checked_sub(suffix)
        .and_then(|at| line.split_at_checked(at))
        .ok_or("too short")?;
    let hash = std::str::from_utf8(suffix).ok();
    let hash = hash.and_then(|text| text.strip_prefix(BEFORE_HASH)?.strip_suffix(AFTER_HASH));
    let hash: Hash =
        hash.and_then(|hash| hash.parse().ok()).ok_or("it does not end with a hash")?;
    if Hash::of(hashed) != hash {
        return Err("its text does not match its hash".to_owned());
    }
    let read: Read = serde_json::from_slice(line).map_err(|err| err.to_string())?;
    let previous = read.previous.parse().map_err(|()| "`previous` is not a hash")?;
    let before = read.number.checked_sub(1).ok_or("its number is 0")?;
    Ok(CheckedRecord {
        anchor: Anchor { number: read.number, hash },
        previous: Anchor { number: before, hash: previous },
        action: read.action,
        detail: read.detail,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn action(detail: Value) -> Action {
        let from = Some(IpAddr::from([10, 0, 0, 7]));
        Action { by: "deploy".to_owned(), from, name: "purge", detail }
    }

    #[test]
    fn record_is_one_line_of_json() {
        let (line, anchor) = next_line(Anchor::START, &action(json!({"all": true})), 0);
        assert!(line.starts_with(&format!(
            r#"{{"number":1,"previous":"{}","time":"1970-01-01T00:00:00.000000Z","by":"deploy","from":"10.0.0.7","action":"purge","detail":{{"all":true}},"hash":""#,
            "0".repeat(64)
        )), "{line}");
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["hash"].as_str(), Some(anchor.hash.to_string().as_str()));
        let checked = check_line(line.trim_end().as_bytes()).expect("valid");
        assert_eq!((checked.anchor, checked.previous), (anchor, Anchor::START));
        assert_eq!(anchor.to_string().parse(), Ok(anchor));
    }

    #[test]
    fn line_end_in_detail_stays_in_the_line() {
        let detail = json!({"subjects": ["t:a\nb\r\u{2028}\"}"]});
        let (line, _) = next_line(Anchor::START, &action(detail), 0);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        check_line(line.trim_end().as_bytes()).expect("valid");
    }

    proptest! {
        #[test]
        fn every_changed_byte_noticed(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let (line, _) = next_line(Anchor::START, &action(json!({"all": true})), 1);
            let mut bytes = line.trim_end().as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            // A digit of the hash may change its case; the hash stays the same.
            let same = bytes.eq_ignore_ascii_case(line.trim_end().as_bytes());
            prop_assert!(same || check_line(&bytes).is_err());
        }

        #[test]
        fn any_line_checked_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = check_line(&bytes);
        }
    }
}
