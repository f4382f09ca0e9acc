//! Change events that somebody posts, in place of a log that is read: `POST /api/v1/events/{source}`.
//!
//! Whoever posts has to know a secret: what they post decides what is thought to be fresh. It is not sent
//! but signs each body, as Debezium Server does it (`authentication.type=standard-webhooks`); whoever can't
//! sign sends it as a bearer's token.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coherence::Clock;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use crate::admin::{Shared, problem};

/// The largest body, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 16 << 20;

/// How far a signature's time may be from ours.
const TIME_APART: Duration = Duration::from_secs(5 * 60);

/// Where posted events go.
pub struct EventsIn {
    /// Whose they are: the source's name.
    pub source: String,
    /// What whoever posts them has to know.
    pub secret: Secret,
    /// When it is, for signatures.
    pub clock: Arc<dyn Clock>,
    /// Who takes them.
    pub events: Arc<dyn Events>,
}

/// Takes posted events; implemented where the parts are put together.
#[async_trait]
pub trait Events: Send + Sync + 'static {
    /// Takes a body; it is applied in the shared tier when this answers.
    ///
    /// # Errors
    /// [`EventsError`].
    async fn take(&self, body: &[u8]) -> Result<(), EventsError>;
}

/// Why a body was not taken.
#[derive(Clone, Debug, Error)]
pub enum EventsError {
    /// It can't be read; says what, where, and how to mend it.
    #[error("{0}")]
    Unreadable(String),
    /// Another node takes them, or the same one does a moment later.
    #[error("{0}")]
    NotNow(String),
}

/// A key of 24 to 64 bytes, written in base64, with `whsec_` before it or without. Never printed.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mend =
            "write 24 to 64 random bytes in base64, such as `openssl rand -base64 32` prints";
        let text = text.strip_prefix("whsec_").unwrap_or(text);
        let key = STANDARD.decode(text).map_err(|_| format!("is not base64; {mend}"))?;
        if !(24..=64).contains(&key.len()) {
            return Err(format!("has {} bytes; {mend}", key.len()));
        }
        Ok(Self(key.into()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Secret {
    /// Whether the headers show that whoever sent the body knows the secret. `now_us`: since 1970.
    ///
    /// # Errors
    /// What is missing or wrong, for whoever sets the other side up; nothing of the secret.
    fn check(&self, headers: &HeaderMap, body: &[u8], now_us: u64) -> Result<(), &'static str> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(signatures) = text("webhook-signature") {
            let (Some(id), Some(time)) = (text("webhook-id"), text("webhook-timestamp")) else {
                return Err("webhook-id and webhook-timestamp belong to a signature");
            };
            let seconds: u64 = time.parse().map_err(|_| "webhook-timestamp is no number")?;
            if seconds.abs_diff(now_us / 1_000_000) > TIME_APART.as_secs() {
                return Err("webhook-timestamp is more than five minutes from this machine's time");
            }
            let mut mac = self.mac();
            for part in [id.as_bytes(), b".", time.as_bytes(), b".", body] {
                mac.update(part);
            }
            let good = |signature: &str| {
                let given =
                    signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
                given.is_some_and(|given| mac.clone().verify_slice(&given).is_ok())
            };
            return match signatures.split(' ').any(good) {
                true => Ok(()),
                false => Err("the signature is not one by this source's secret"),
            };
        }
        let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match bearer.map(str::parse::<Secret>) {
            Some(given) => {
                // Compared by what both make of the same text, which takes the same time for all.
                let made = |secret: &Secret| secret.mac().chain_update(b"bearer");
                let given = given.map_err(|_| "the bearer's token is not this source's secret")?;
                let given = made(&given).finalize().into_bytes();
                made(self)
                    .verify_slice(&given)
                    .map_err(|_| "the bearer's token is not this source's secret")
            }
            None => {
                Err("sign the body (webhook-id, webhook-timestamp, webhook-signature), or send \
                         `Authorization: Bearer …`")
            }
        }
    }

    fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.0).expect("a key may have any length")
    }
}

pub(crate) async fn take(
    State(admin): Shared,
    Path(source): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(events) = admin.events.as_ref().filter(|events| events.source == source) else {
        let detail = format!("no source {source:?} takes events; see [source.NAME] events");
        return problem(StatusCode::NOT_FOUND, "no such page", &detail);
    };
    if let Err(what) = events.secret.check(&headers, &body, events.clock.wall_us()) {
        tracing::warn!(source, what, "events were refused");
        let mut answer = problem(StatusCode::UNAUTHORIZED, "who posts this is not known", what);
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return answer;
    }
    match events.events.take(&body).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(EventsError::Unreadable(what)) => {
            tracing::error!(
                source,
                what,
                "events can't be read; they are posted in vain until that is mended"
            );
            problem(StatusCode::BAD_REQUEST, "the events can't be read", &what)
        }
        Err(EventsError::NotNow(what)) => {
            let mut answer =
                problem(StatusCode::SERVICE_UNAVAILABLE, "not by this node, or not now", &what);
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            answer
        }
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

    /// The example of the Standard Webhooks specification.
    #[test]
    fn a_signature_is_of_the_body_its_name_and_its_time() {
        let secret: Secret = SECRET.parse().expect("a secret");
        let signed = |id, time, signature| {
            headers(&[
                ("webhook-id", id),
                ("webhook-timestamp", time),
                ("webhook-signature", signature),
            ])
        };
        let (id, time) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let body = br#"{"test": 2432232314}"#;
        let check = |headers: &HeaderMap, body: &[u8], now| secret.check(headers, body, now);
        assert_eq!(check(&signed(id, time, good), body, NOW_US), Ok(()));
        let two = format!("v1,AAAA {good}");
        assert_eq!(check(&signed(id, time, &two), body, NOW_US), Ok(()));
        assert!(check(&signed(id, time, good), b"{}", NOW_US).is_err());
        assert!(check(&signed("msg_other", time, good), body, NOW_US).is_err());
        assert!(check(&signed(id, "1614265331", good), body, NOW_US).is_err());
        assert!(check(&signed(id, time, "v1,"), body, NOW_US).is_err());
        assert!(check(&signed(id, time, "v1a,x"), body, NOW_US).is_err());
        let late = NOW_US + 301 * 1_000_000;
        let why = check(&signed(id, time, good), body, late).expect_err("too late");
        assert!(why.contains("five minutes"), "{why}");
    }

    #[test]
    fn a_bearers_token_is_the_secret_itself() {
        let secret: Secret = SECRET.parse().expect("a secret");
        let bearer = |token: &str| headers(&[("authorization", &format!("Bearer {token}"))]);
        let check = |headers: HeaderMap| secret.check(&headers, b"", NOW_US);
        assert_eq!(check(bearer(SECRET)), Ok(()));
        for wrong in ["", "whsec_", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx", "x y"] {
            assert!(check(bearer(wrong)).is_err(), "{wrong}");
        }
        assert!(check(HeaderMap::new()).expect_err("nothing").contains("webhook-signature"));
    }

    #[test]
    fn a_secret_is_long_enough_and_not_printed() {
        for bad in ["", "short", "whsec_AAAA", "not base64 at all, but long enough to be one"] {
            let why = bad.parse::<Secret>().expect_err(bad);
            assert!(why.contains("openssl"), "{why}");
        }
        let secret: Secret = SECRET.parse().expect("a secret");
        assert_eq!(format!("{secret:?}"), "***");
    }
}
