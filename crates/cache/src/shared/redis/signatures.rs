//! Signatures of the values that nodes keep in Redis, so that another writer of Redis can't make answers.
//!
//! An entry is signed together with its name, its epoch, its τ and the end of its life, so that it can't be moved to
//! another key, contract or tier, nor be kept past its TTL. The script completes an entry: it writes format, epoch, τ
//! and stamp before the signed part, and may raise τ later. A message of the node stream is signed together with the name
//! of the stream; a chunk of a divided batch also with the signature of the chunk before it.

use coherence::Lsn;
use contract::{KeyId, MacError, SigningKeys};
use thiserror::Error;

/// The length of the part of a MAC that is kept, in bytes.
const CODE_BYTES: usize = 16;

/// The bytes behind a signed entry: τ, end of life, id of the key, code. The scripts know this length.
const TRAILER_BYTES: usize = 8 + 8 + 4 + CODE_BYTES;

/// The difference of two nodes' clocks that does not matter.
const CLOCK_TOLERANCE_MS: u64 = 60_000;

/// The signature of a message.
pub(super) type Code = [u8; CODE_BYTES];

/// Why a value in Redis is not used.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(super) enum Distrust {
    #[error(
        "it has no signature: a node without shared.signing_keys has written it, or it was planted"
    )]
    Unsigned,
    #[error("it is signed, and this node has no shared.signing_keys to verify it")]
    NoKeys,
    #[error(transparent)]
    Mac(#[from] MacError),
    #[error("it is kept past the end of its life")]
    Expired,
}

impl Distrust {
    /// Returns the reason as a label of metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::NoKeys => "no-keys",
            Self::Mac(MacError::UnknownKey(_)) => "unknown-key",
            Self::Mac(MacError::Mismatch) => "mismatch",
            Self::Expired => "expired",
        }
    }

    /// Whether the value is of use to no node with this node's keys, so that it is removed.
    pub(super) fn is_useless(self) -> bool {
        matches!(self, Self::Unsigned | Self::Mac(MacError::Mismatch))
    }
}

/// The position and the end of life that a signed entry was written with.
#[derive(Clone, Copy)]
pub(super) struct Term {
    pub(super) tau: Lsn,
    /// By the wall clock of its writer, in ms since 1970.
    pub(super) expires_ms: u64,
}

impl Term {
    /// Checks the end of life. `longest_ms`: the end that a sliding TTL has prolonged it to at most.
    pub(super) fn check(self, now_ms: u64, longest_ms: u64) -> Result<(), Distrust> {
        let end = self.expires_ms.max(longest_ms).saturating_add(CLOCK_TOLERANCE_MS);
        if now_ms > end { Err(Distrust::Expired) } else { Ok(()) }
    }
}

/// Signs the values of a tier and verifies them. Without keys it does neither.
#[derive(Clone, Debug, Default)]
pub(super) struct Signatures {
    keys: Option<SigningKeys>,
    accepts_unsigned: bool,
}

impl Signatures {
    pub(super) fn new(keys: Option<SigningKeys>, accepts_unsigned: bool) -> Self {
        Self { keys, accepts_unsigned }
    }

    /// Returns the first word of the entries that [`seal`](Self::seal) completes. `is_timed`: those whose values change by
    /// the clock.
    pub(super) fn format(&self, is_timed: bool) -> &'static str {
        match (self.keys.is_some(), is_timed) {
            (false, false) => "tg3",
            (true, false) => "tg4",
            (false, true) => "tg5",
            (true, true) => "tg6",
        }
    }

    /// Signs an entry, of which `content` is the part after its stamp.
    pub(super) fn seal(&self, name: &str, epoch: &str, term: Term, content: &mut Vec<u8>) {
        let Some(keys) = &self.keys else { return };
        let (tau, expires) = (term.tau.0.to_be_bytes(), term.expires_ms.to_be_bytes());
        let mac = keys.sign(&entry_parts(name, epoch, &tau, &expires, content));
        content.reserve_exact(TRAILER_BYTES);
        content.extend_from_slice(&tau);
        content.extend_from_slice(&expires);
        content.extend_from_slice(&mac.key.0);
        content.extend_from_slice(&mac.code[..CODE_BYTES]);
    }

    /// Verifies an entry under its name and removes its signature. `None`: it has none, and needs none.
    pub(super) fn open(&self, name: &str, raw: &mut Vec<u8>) -> Result<Option<Term>, Distrust> {
        if !raw.starts_with(b"tg4 ") && !raw.starts_with(b"tg6 ") {
            return self.unsigned().map(|()| None);
        }
        let keys = self.keys.as_ref().ok_or(Distrust::NoKeys)?;
        let term = verify_entry(keys, name, raw)?;
        raw.truncate(raw.len() - TRAILER_BYTES);
        Ok(Some(term))
    }

    /// Returns a message with its signature in front, as the scripts publish it, and that signature. `after`: the
    /// signature of the chunk before this one.
    pub(super) fn sign_text(
        &self,
        name: &str,
        kind: &str,
        after: Option<Code>,
        text: String,
    ) -> (String, Option<Code>) {
        let Some(keys) = &self.keys else { return (text, None) };
        let after = after.map_or_else(|| "-".to_owned(), |code| hex(&code));
        let mac = keys.sign(&text_parts(name, kind, &after, text.as_bytes()));
        let mut code = Code::default();
        code.copy_from_slice(&mac.code[..CODE_BYTES]);
        (format!("{}.{}.{after} {text}", mac.key, hex(&code)), Some(code))
    }

    /// Verifies a message with the signature that was in front of it.
    pub(super) fn verify_text(
        &self,
        name: &str,
        kind: &str,
        signature: Option<&str>,
        text: &[u8],
    ) -> Result<Option<SignedText>, Distrust> {
        let Some(signature) = signature else { return self.unsigned().map(|()| None) };
        // Redis is trusted where there are no keys.
        let Some(keys) = &self.keys else { return Ok(None) };
        let mut words = signature.splitn(3, '.');
        let mut next = || words.next().ok_or(MacError::Mismatch);
        let (id, code, after) = (next()?, next()?, next()?);
        let (Some(id), Some(code)) = (unhex(id), unhex::<CODE_BYTES>(code)) else {
            return Err(MacError::Mismatch.into());
        };
        keys.verify(KeyId(id), &text_parts(name, kind, after, text), &code)?;
        Ok(Some(SignedText { code, after: unhex(after) }))
    }

    fn unsigned(&self) -> Result<(), Distrust> {
        if self.keys.is_none() || self.accepts_unsigned { Ok(()) } else { Err(Distrust::Unsigned) }
    }
}

/// The signature of a verified message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SignedText {
    pub(super) code: Code,
    /// The signature of the message that has to come before it.
    pub(super) after: Option<Code>,
}

/// Divides a text as [`Signatures::sign_text`] returns it into signature and message.
pub(super) fn split_text(text: &str) -> (Option<&str>, &str) {
    match text.split_once(' ') {
        Some((signature, rest)) if !signature.starts_with(['{', '[']) => (Some(signature), rest),
        _ => (None, text),
    }
}

fn verify_entry(keys: &SigningKeys, name: &str, raw: &[u8]) -> Result<Term, Distrust> {
    let parsed = || {
        let (signed, trailer) = raw.split_at_checked(raw.len().checked_sub(TRAILER_BYTES)?)?;
        let line = signed.split(|byte| *byte == b'\n').next()?;
        let mut words = line.splitn(5, |byte| *byte == b' ').skip(1);
        let (epoch, tau, stamp) = (words.next()?, words.next()?, words.next()?);
        words.next()?;
        // From the space after the stamp on.
        let content = &signed[b"tg4   ".len() + epoch.len() + tau.len() + stamp.len()..];
        let (epoch, tau) = (str::from_utf8(epoch).ok()?, str::from_utf8(tau).ok()?);
        Some((epoch, Lsn(tau.parse().ok()?), content, trailer))
    };
    let (epoch, raised, content, trailer) = parsed().ok_or(MacError::Mismatch)?;
    let number = |at: usize| {
        let bytes = trailer[at..at + 8].try_into().expect("the trailer is longer");
        u64::from_be_bytes(bytes)
    };
    let term = Term { tau: Lsn(number(0)), expires_ms: number(8) };
    let id = KeyId(trailer[16..20].try_into().expect("the trailer is longer"));
    let parts = entry_parts(name, epoch, &trailer[..8], &trailer[8..16], content);
    keys.verify(id, &parts, &trailer[20..])?;
    // The word in front is not signed. It keeps nodes away that do not know of the kind, which is.
    let changes_by_clock = content.get(1).is_some_and(u8::is_ascii_uppercase);
    // A touch raises the position, and nothing lowers it.
    if raw.starts_with(b"tg6 ") != changes_by_clock || raised < term.tau {
        Err(MacError::Mismatch.into())
    } else {
        Ok(term)
    }
}

fn entry_parts<'a>(
    name: &'a str,
    epoch: &'a str,
    tau: &'a [u8],
    expires: &'a [u8],
    content: &'a [u8],
) -> [&'a [u8]; 8] {
    // Names, epochs and lengths of numbers have no newline, so that no two lists of parts are the same text.
    let (name, epoch) = (name.as_bytes(), epoch.as_bytes());
    [b"tidegate entry\n", name, b"\n", epoch, b"\n", tau, expires, content]
}

fn text_parts<'a>(name: &'a str, kind: &'a str, after: &'a str, text: &'a [u8]) -> [&'a [u8]; 8] {
    let (name, kind, after) = (name.as_bytes(), kind.as_bytes(), after.as_bytes());
    [b"tidegate message\n", name, b"\n", kind, b"\n", after, b"\n", text]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
#[path = "signatures_tests.rs"]
mod tests;
