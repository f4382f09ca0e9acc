//! Signatures of the messages in a log.
//!
//! A signed message is `<64 hexadecimal digits> <json>`: the HMAC-SHA-256 of the JSON, which a statement can make too
//! (`pgcrypto`). The JSON has a further field, `"signed_at"`, in seconds since 1970: the commit of the message has to be
//! near it, so that a recorded message can't be written again later.

use std::sync::Arc;
use std::time::Duration;

use coherence::Clock;
use contract::{Refusals, SigningKeys};

use crate::message::{LogMessage, MalformedMessage, MessageTooLarge};
use crate::metrics::Metrics;

/// The most time between signature and commit, which a long transaction or two clocks may take.
const TOLERANCE: Duration = Duration::from_secs(60 * 60);

/// The digits of a signature.
const DIGITS: usize = 64;

/// Signs the messages that a node writes to the log, and verifies those that it reads. The default has no keys: it
/// trusts each writer of the log. Clones share the counts.
#[derive(Clone, Default)]
pub struct MessageKeys {
    keys: Option<(SigningKeys, Arc<dyn Clock>)>,
    refusals: Refusals,
}

impl MessageKeys {
    /// Creates them; `clock` is for `signed_at`.
    #[must_use]
    pub fn new(keys: SigningKeys, clock: Arc<dyn Clock>) -> Self {
        Self { keys: Some((keys, clock)), refusals: Refusals::default() }
    }

    /// Returns the messages that were refused.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Returns the form of a message in the log.
    ///
    /// # Errors
    /// [`MessageTooLarge`].
    pub(crate) fn write(&self, message: &LogMessage) -> Result<String, MessageTooLarge> {
        let Some((keys, clock)) = &self.keys else { return message.to_json() };
        let json = message.to_json_signed_at(clock.wall_us() / 1_000_000)?;
        let code = keys.sign(&[json.as_bytes()]).code;
        let digits = code.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        Ok(format!("{digits} {json}"))
    }

    /// Parses the content of a message in the log, of a commit at `committed_us`. A malformed or refused one is counted
    /// and logged.
    pub(crate) fn read(
        &self,
        content: &[u8],
        committed_us: u64,
        source: &str,
        metrics: &Metrics,
    ) -> Option<LogMessage> {
        let parsed = self.parse(content, committed_us);
        match &parsed {
            Ok(_) => {}
            Err(MalformedMessage::Refused(why)) => {
                metrics.refused.inc();
                let now_ms = self.keys.as_ref().map_or(0, |(_, clock)| clock.wall_ms());
                if self.refusals.count(format!("a message in the log: {why}"), now_ms) {
                    tracing::error!(%source, reason = %why, "a message in the log is not applied");
                }
            }
            Err(err) => {
                metrics.malformed.inc();
                tracing::warn!(%source, error = %err, "malformed log message");
            }
        }
        match parsed {
            Err(MalformedMessage::Unknown(_)) => Some(LogMessage::unknown_changes()),
            parsed => parsed.ok(),
        }
    }

    fn parse(&self, content: &[u8], committed_us: u64) -> Result<LogMessage, MalformedMessage> {
        let (signature, json) = split(content);
        let Some((keys, _)) = &self.keys else { return LogMessage::from_json(json) };
        let refused = |why: &str| Err(MalformedMessage::Refused(why.to_owned()));
        let Some(code) = signature else {
            return refused(
                "it has no signature; sign it with a key of message_keys (docs/purges.md)",
            );
        };
        if let Err(why) = keys.verify_with_any(&[json], &code) {
            return refused(&why.to_string());
        }
        let (message, signed_at) = LogMessage::from_json_signed_at(json)?;
        let Some(signed_at) = signed_at else {
            return refused("it has no `signed_at`, in seconds since 1970");
        };
        if (committed_us / 1_000_000).abs_diff(signed_at) > TOLERANCE.as_secs() {
            return refused("it was signed more than an hour before or after its commit");
        }
        Ok(message)
    }
}

/// Divides the content of a message into signature and JSON. A node without keys reads signed messages too, so that keys
/// can be introduced.
fn split(content: &[u8]) -> (Option<[u8; DIGITS / 2]>, &[u8]) {
    let parsed = || {
        let (digits, json) = content.split_at_checked(DIGITS)?;
        let mut code = [0; DIGITS / 2];
        for (byte, digits) in code.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some((code, json.strip_prefix(b" ")?))
    };
    parsed().map_or((None, content), |(code, json)| (Some(code), json))
}

#[cfg(test)]
mod tests {
    use coherence::{Cause, Mono};
    use proptest::prelude::proptest;

    use super::*;

    const NOW_US: u64 = 1_800_000_000_000_000;
    const HOUR_US: u64 = 3_600_000_000;

    struct StoppedClock;

    impl Clock for StoppedClock {
        fn mono(&self) -> Mono {
            Mono(0)
        }

        fn wall_ms(&self) -> u64 {
            NOW_US / 1_000
        }

        fn wall_us(&self) -> u64 {
            NOW_US
        }
    }

    fn keys(texts: &[&str]) -> MessageKeys {
        let texts: Vec<String> = texts.iter().map(|text| text.repeat(32)).collect();
        let keys = SigningKeys::new(&texts).expect("keys");
        MessageKeys::new(keys, Arc::new(StoppedClock))
    }

    fn purge() -> LogMessage {
        let subjects = vec!["t:product-42".parse().expect("a subject")];
        LogMessage { id: "p-1".into(), cause: Cause::Purge, subjects }
    }

    fn refusal(keys: &MessageKeys, text: &str, at_us: u64) -> String {
        match keys.parse(text.as_bytes(), at_us) {
            Err(MalformedMessage::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn signed_message_read_with_each_key_and_without() {
        let old = keys(&["a"]);
        let text = old.write(&purge()).expect("small");
        for reader in [old, keys(&["b", "a"]), MessageKeys::default()] {
            assert_eq!(reader.parse(text.as_bytes(), NOW_US).expect("accepted"), purge());
        }
        assert!(refusal(&keys(&["b"]), &text, NOW_US).contains("does not match"));
    }

    #[test]
    fn unsigned_altered_or_late_message_refused_and_counted() {
        let keys = keys(&["a"]);
        let text = keys.write(&purge()).expect("small");
        let unsigned = purge().to_json().expect("small");
        assert!(refusal(&keys, &unsigned, NOW_US).contains("no signature"));
        let altered = text.replace("product-42", "product-43");
        assert!(refusal(&keys, &altered, NOW_US).contains("does not match"));
        assert!(keys.parse(text.as_bytes(), NOW_US + HOUR_US).is_ok());
        let late = NOW_US + HOUR_US + 1_000_000;
        assert!(refusal(&keys, &text, late).contains("more than an hour"));
        let metrics = Metrics::default();
        assert_eq!(keys.read(unsigned.as_bytes(), NOW_US, "shop", &metrics), None);
        assert_eq!((metrics.refused.get(), metrics.malformed.get()), (1, 0));
        assert!(keys.refusals().report().is_present(NOW_US / 1_000));
        assert_eq!(keys.read(b"nonsense", NOW_US, "shop", &metrics), None);
    }

    #[test]
    fn signature_without_time_refused() {
        let keys = keys(&["a"]);
        let json = purge().to_json().expect("small");
        let signer = &keys.keys.as_ref().expect("keys").0;
        let code = signer.sign(&[json.as_bytes()]).code;
        let digits = code.iter().fold(String::new(), |text, byte| text + &format!("{byte:02X}"));
        assert!(refusal(&keys, &format!("{digits} {json}"), NOW_US).contains("signed_at"));
    }

    #[test]
    fn request_of_later_version_invalidates_everything() {
        let keys = MessageKeys::default();
        let read = |text: &str| keys.read(text.as_bytes(), NOW_US, "shop", &Metrics::default());
        for text in [
            r#"{"cause":"expiry","subjects":["t:a"]}"#,
            r#"{"cause":"purge","subjects":["t:a","range:1-9"]}"#,
        ] {
            let message = read(text).expect(text);
            assert_eq!(message.subjects, [coherence::Subject::Everything], "{text}");
        }
        let known = read(r#"{"cause":"purge","subjects":["t:a"],"note":1}"#).expect("a message");
        assert_eq!(known.subjects, ["t:a".parse().expect("a subject")]);
        assert_eq!(read("no json"), None);
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(content: Vec<u8>, digits in "[0-9a-f]{60,68} ?", at: u64) {
            let _ = keys(&["a"]).parse(&content, at);
            let signed = [digits.as_bytes(), &content].concat();
            let _ = MessageKeys::default().parse(&signed, at);
        }
    }
}
