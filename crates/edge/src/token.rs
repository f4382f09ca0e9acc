//! Read-your-writes at the edge: where a token comes in, and how a browser gets one.
//!
//! * `Tidegate-After: <token>` on a request: nothing older than this.
//! * The cookie `tidegate-after=<token>`: the same, for a browser. Only the gateway reads it; it is
//!   taken off the request before anything else, so it is never part of a key, never makes a client
//!   one with cookies, and never reaches the upstream.
//! * `Tidegate-Written: <token>` on the upstream's answer to an unsafe method: the gateway takes it
//!   off and sets the cookie.

use coherence::After;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::key::Scheme;

pub(crate) const TIDEGATE_AFTER: HeaderName = HeaderName::from_static("tidegate-after");
pub(crate) const TIDEGATE_WRITTEN: HeaderName = HeaderName::from_static("tidegate-written");

/// The cookie's name and the sign after it.
const PREFIX: &str = "tidegate-after=";

/// How long a browser keeps the cookie, in seconds. Far longer than a tier usually needs to get
/// there; short, because after a failover every answer for it is read from the upstream.
const KEEP_S: u32 = 60;

/// A token that can't be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Malformed(pub(crate) String);

/// Reads the header.
pub(crate) fn asked(headers: &HeaderMap) -> Result<Option<After>, Malformed> {
    headers.get(TIDEGATE_AFTER).map(parsed).transpose()
}

/// Takes header and cookie off a request; the header counts more.
pub(crate) fn take(headers: &mut HeaderMap) -> Result<Option<After>, Malformed> {
    let cookie = take_cookie(headers);
    match headers.remove(TIDEGATE_AFTER) {
        Some(header) => parsed(&header).map(Some),
        None => cookie.as_ref().map(parsed).transpose(),
    }
}

/// Takes the mark of a write off an answer.
pub(crate) fn written(headers: &mut HeaderMap) -> Result<Option<After>, Malformed> {
    headers.remove(TIDEGATE_WRITTEN).as_ref().map(parsed).transpose()
}

/// Hands the token to the browser.
pub(crate) fn set_cookie(headers: &mut HeaderMap, token: After, scheme: Scheme) {
    let secure = if scheme == Scheme::Https { "; Secure" } else { "" };
    let cookie =
        format!("{PREFIX}{token}; Path=/; Max-Age={KEEP_S}; HttpOnly; SameSite=Lax{secure}");
    let cookie = HeaderValue::try_from(cookie).expect("tokens and attributes are plain text");
    headers.append(SET_COOKIE, cookie);
}

fn parsed(value: &HeaderValue) -> Result<After, Malformed> {
    let text = value.to_str().map_err(|err| Malformed(err.to_string()))?;
    text.trim().parse().map_err(|err: coherence::after::ParseAfterError| Malformed(err.to_string()))
}

fn take_cookie(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let holds = |field: &HeaderValue| field.to_str().is_ok_and(|text| text.contains(PREFIX));
    if !headers.get_all(COOKIE).iter().any(holds) {
        return None;
    }
    let fields: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    let mut taken = None;
    for field in fields {
        let Some(text) = field.to_str().ok().filter(|_| holds(&field)) else {
            headers.append(COOKIE, field);
            continue;
        };
        let mut others = Vec::new();
        for pair in text.split(';').map(str::trim) {
            match pair.strip_prefix(PREFIX) {
                Some(token) => taken = HeaderValue::from_str(token).ok(),
                None => others.push(pair),
            }
        }
        if !others.is_empty() {
            let others = HeaderValue::try_from(others.join("; "));
            headers.append(COOKIE, others.expect("parts of a header's text are such a text"));
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "v1.0123456789abcdef.2a";

    fn cookies(fields: &[&'static str]) -> HeaderMap {
        fields.iter().map(|field| (COOKIE, HeaderValue::from_static(field))).collect()
    }

    #[test]
    fn the_cookie_is_taken_off_and_the_others_stay() {
        for (before, after) in [
            (&["tidegate-after=v1.0123456789abcdef.2a"][..], &[][..]),
            (&["a=1; tidegate-after=v1.0123456789abcdef.2a; b=2"], &["a=1; b=2"]),
            (&["a=1", "tidegate-after=v1.0123456789abcdef.2a", "b=2"], &["a=1", "b=2"]),
        ] {
            let mut headers = cookies(before);
            assert_eq!(take(&mut headers), Ok(TOKEN.parse().ok()), "{before:?}");
            assert_eq!(headers, cookies(after), "{before:?}");
        }
        let mut others = cookies(&["my-tidegate-after=1; b=2"]);
        assert_eq!(take(&mut others), Ok(None));
        assert_eq!(others, cookies(&["my-tidegate-after=1; b=2"]));
    }

    #[test]
    fn the_header_counts_more_than_the_cookie() {
        let mut headers = cookies(&["tidegate-after=v1.0123456789abcdef.2a"]);
        headers.insert(TIDEGATE_AFTER, HeaderValue::from_static("lsn=0/7"));
        assert_eq!(take(&mut headers), Ok("lsn=0/7".parse().ok()));
        assert!(headers.is_empty());
    }

    #[test]
    fn a_malformed_token_is_taken_off_too() {
        let mut headers = cookies(&["tidegate-after=rubbish"]);
        assert!(take(&mut headers).is_err());
        assert!(headers.is_empty());
    }

    #[test]
    fn a_browser_over_https_keeps_its_cookie_there() {
        let mut headers = HeaderMap::new();
        set_cookie(&mut headers, TOKEN.parse().expect("a token"), Scheme::Https);
        assert_eq!(
            headers[SET_COOKIE],
            "tidegate-after=v1.0123456789abcdef.2a; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
        );
    }
}
