//! Authentication of posted events: Standard Webhooks signatures, or a bearer token.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::config::ValueError;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The largest difference between a signature's time and this machine's.
const TIME_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// A key of 24 to 64 bytes, written in base64, with or without the prefix `whsec_`. Never printed.
#[derive(Clone)]
pub struct WebhookSecret(Arc<[u8]>);

impl FromStr for WebhookSecret {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |message: String| ValueError {
            rule: "wrong-value",
            message,
            help: Self::FORM.to_owned(),
        };
        let text = text.strip_prefix("whsec_").unwrap_or(text);
        let key = STANDARD.decode(text).map_err(|_| invalid("is not base64".to_owned()))?;
        if !(24..=64).contains(&key.len()) {
            return Err(invalid(format!("has {} bytes", key.len())));
        }
        Ok(Self(key.into()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The sender of a request, by its head.
#[derive(Debug)]
pub(crate) enum Sender {
    /// It has shown the secret.
    Known,
    /// Its signature covers the body.
    Signed(Signature),
}

/// The signature of a body.
#[derive(Debug)]
pub(crate) struct Signature {
    /// The signed text before the body.
    prefix: String,
    signatures: Vec<Vec<u8>>,
}

impl WebhookSecret {
    /// The form of a secret, for error messages.
    pub const FORM: &str =
        "write 24 to 64 random bytes in base64, such as `openssl rand -base64 32` prints";

    /// Checks the head of a request. `now_us`: wall time, µs since 1970.
    ///
    /// # Errors
    /// The missing or wrong header, for the operator of the sender; nothing of the secret.
    pub(crate) fn check_head(
        &self,
        headers: &HeaderMap,
        now_us: u64,
    ) -> Result<Sender, &'static str> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(signatures) = text("webhook-signature") {
            let (Some(id), Some(time)) = (text("webhook-id"), text("webhook-timestamp")) else {
                return Err("webhook-signature requires webhook-id and webhook-timestamp");
            };
            let seconds: u64 = time.parse().map_err(|_| "webhook-timestamp is not a number")?;
            if seconds.abs_diff(now_us / 1_000_000) > TIME_TOLERANCE.as_secs() {
                return Err("webhook-timestamp is more than five minutes from this machine's time");
            }
            let signatures = signatures.split(' ').filter_map(|signature| {
                signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok())
            });
            return Ok(Sender::Signed(Signature {
                prefix: format!("{id}.{time}."),
                signatures: signatures.collect(),
            }));
        }
        const WRONG_TOKEN: &str = "the bearer token is not this source's secret";
        let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match bearer.map(str::parse::<WebhookSecret>) {
            Some(given) => {
                // Compares the MACs of one text, which takes the same time for every secret.
                let tag = |secret: &WebhookSecret| secret.mac().chain_update(b"bearer");
                let given = given.map_err(|_| WRONG_TOKEN)?;
                let given = tag(&given).finalize().into_bytes();
                tag(self).verify_slice(&given).map_err(|_| WRONG_TOKEN)?;
                Ok(Sender::Known)
            }
            None => {
                Err("sign the body (webhook-id, webhook-timestamp, webhook-signature), or send \
                         `Authorization: Bearer …`")
            }
        }
    }

    /// Checks the body of a sender.
    ///
    /// # Errors
    /// The reason, for the operator of the sender.
    pub(crate) fn check_body(&self, sender: &Sender, body: &[u8]) -> Result<(), &'static str> {
        let Sender::Signed(Signature { prefix, signatures }) = sender else { return Ok(()) };
        let mac = self.mac().chain_update(prefix.as_bytes()).chain_update(body);
        match signatures.iter().any(|given| mac.clone().verify_slice(given).is_ok()) {
            true => Ok(()),
            false => Err("webhook-signature was not made with this source's secret"),
        }
    }

    fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.0).expect("a key may have any length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const NOW_US: u64 = 1_614_265_330_000_000;

    fn headers(named: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            ((*name).parse().expect("a name"), value.parse().expect("a value"))
        };
        named.iter().map(header).collect()
    }

    /// The example in the Standard Webhooks specification.
    #[test]
    fn signature_covers_body_id_and_time() {
        let secret: WebhookSecret = SECRET.parse().expect("a secret");
        let signed = |id, time, signature| {
            headers(&[
                ("webhook-id", id),
                ("webhook-timestamp", time),
                ("webhook-signature", signature),
            ])
        };
        let (id, time) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");
        let valid = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let body = br#"{"test": 2432232314}"#;
        let check = |headers: &HeaderMap, body: &[u8], now| {
            let sender = secret.check_head(headers, now)?;
            secret.check_body(&sender, body)
        };
        assert_eq!(check(&signed(id, time, valid), body, NOW_US), Ok(()));
        let two = format!("v1,AAAA {valid}");
        assert_eq!(check(&signed(id, time, &two), body, NOW_US), Ok(()));
        assert!(check(&signed(id, time, valid), b"{}", NOW_US).is_err());
        assert!(check(&signed("msg_other", time, valid), body, NOW_US).is_err());
        assert!(check(&signed(id, "1614265331", valid), body, NOW_US).is_err());
        assert!(check(&signed(id, time, "v1,"), body, NOW_US).is_err());
        assert!(check(&signed(id, time, "v1a,x"), body, NOW_US).is_err());
        let late = NOW_US + 301 * 1_000_000;
        let why = check(&signed(id, time, valid), body, late).expect_err("too late");
        assert!(why.contains("five minutes"), "{why}");
    }

    #[test]
    fn bearer_token_equals_secret() {
        let secret: WebhookSecret = SECRET.parse().expect("a secret");
        let bearer = |token: &str| headers(&[("authorization", &format!("Bearer {token}"))]);
        let check = |headers: HeaderMap| secret.check_head(&headers, NOW_US).map(drop);
        assert_eq!(check(bearer(SECRET)), Ok(()));
        for wrong in ["", "whsec_", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx", "x y"] {
            assert!(check(bearer(wrong)).is_err(), "{wrong}");
        }
        assert!(check(HeaderMap::new()).expect_err("nothing").contains("webhook-signature"));
    }

    #[test]
    fn short_secret_rejected_and_none_printed() {
        for invalid in ["", "short", "whsec_AAAA", "not base64 at all, but long enough to be one"] {
            let why = invalid.parse::<WebhookSecret>().expect_err(invalid);
            assert!(why.help.contains("openssl"), "{why}");
        }
        let secret: WebhookSecret = SECRET.parse().expect("a secret");
        assert_eq!(format!("{secret:?}"), "***");
    }
}
