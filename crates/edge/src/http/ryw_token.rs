//! Read-your-writes over HTTP: how requests carry causal tokens, and how a browser gets one.
//!
//! * `Tidegate-After: <token>` on a request: the response includes every commit up to the token. A token may
//!   consist of several, one for each database ([`CausalTokens`]).
//! * The cookie `tidegate-after=<token>`: the same, for a browser. Only the gateway reads it. The
//!   gateway removes it before it classifies the request, so the cookie is never part of a key, does
//!   not make a request count as one with cookies, and never reaches the upstream.
//! * `Tidegate-Written: <token>` on the upstream's response to an unsafe method: the gateway removes
//!   the header and sets the cookie.

use coherence::CausalTokens;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::target::Scheme;

pub(crate) const TIDEGATE_AFTER: HeaderName = HeaderName::from_static("tidegate-after");
pub(crate) const TIDEGATE_WRITTEN: HeaderName = HeaderName::from_static("tidegate-written");

/// The cookie's name with its equals sign.
const COOKIE_PREFIX: &str = "tidegate-after=";

/// How long a browser keeps the cookie, in seconds. Much longer than a tier usually needs to apply
/// the write; short, because after a failover every read with an old token goes to the upstream.
const COOKIE_MAX_AGE_S: u32 = 60;

/// A causal token is malformed, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MalformedToken(pub(crate) String);

/// Parses the token of `Tidegate-After`.
///
/// # Errors
/// [`MalformedToken`].
pub(crate) fn from_header(headers: &HeaderMap) -> Result<Option<CausalTokens>, MalformedToken> {
    headers.get(TIDEGATE_AFTER).map(parse).transpose()
}

/// Removes header and cookie from a request and parses the token; the header takes precedence.
///
/// # Errors
/// [`MalformedToken`]; header and cookie are removed all the same.
pub(crate) fn take_from_request(
    headers: &mut HeaderMap,
) -> Result<Option<CausalTokens>, MalformedToken> {
    let cookie = take_cookie(headers);
    match headers.remove(TIDEGATE_AFTER) {
        Some(header) => parse(&header).map(Some),
        None => cookie.as_ref().map(parse).transpose(),
    }
}

/// Removes `Tidegate-Written` from a response and parses its token.
///
/// # Errors
/// [`MalformedToken`]; the header is removed all the same.
pub(crate) fn take_from_response(
    headers: &mut HeaderMap,
) -> Result<Option<CausalTokens>, MalformedToken> {
    headers.remove(TIDEGATE_WRITTEN).as_ref().map(parse).transpose()
}

/// Sets the cookie that makes a browser send `token`.
pub(crate) fn set_cookie(headers: &mut HeaderMap, token: &CausalTokens, scheme: Scheme) {
    let secure = if scheme == Scheme::Https { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE_PREFIX}{token}; Path=/; Max-Age={COOKIE_MAX_AGE_S}; HttpOnly; SameSite=Lax{secure}"
    );
    let cookie = HeaderValue::try_from(cookie).expect("tokens and attributes are visible ASCII");
    headers.append(SET_COOKIE, cookie);
}

fn parse(value: &HeaderValue) -> Result<CausalTokens, MalformedToken> {
    let text = value.to_str().map_err(|err| MalformedToken(err.to_string()))?;
    text.trim().parse().map_err(|err: coherence::causal_token::ParseCausalTokenError| {
        MalformedToken(err.to_string())
    })
}

fn take_cookie(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let holds = |field: &HeaderValue| field.to_str().is_ok_and(|text| text.contains(COOKIE_PREFIX));
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
            match pair.strip_prefix(COOKIE_PREFIX) {
                Some(token) => taken = HeaderValue::from_str(token).ok(),
                None => others.push(pair),
            }
        }
        if !others.is_empty() {
            let others = HeaderValue::try_from(others.join("; "));
            headers.append(COOKIE, others.expect("parts of a header value form a header value"));
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
    fn token_cookie_removed_others_kept() {
        for (before, after) in [
            (&["tidegate-after=v1.0123456789abcdef.2a"][..], &[][..]),
            (&["a=1; tidegate-after=v1.0123456789abcdef.2a; b=2"], &["a=1; b=2"]),
            (&["a=1", "tidegate-after=v1.0123456789abcdef.2a", "b=2"], &["a=1", "b=2"]),
        ] {
            let mut headers = cookies(before);
            assert_eq!(take_from_request(&mut headers), Ok(TOKEN.parse().ok()), "{before:?}");
            assert_eq!(headers, cookies(after), "{before:?}");
        }
        let mut others = cookies(&["my-tidegate-after=1; b=2"]);
        assert_eq!(take_from_request(&mut others), Ok(None));
        assert_eq!(others, cookies(&["my-tidegate-after=1; b=2"]));
    }

    #[test]
    fn header_takes_precedence_over_cookie() {
        let mut headers = cookies(&["tidegate-after=v1.0123456789abcdef.2a"]);
        headers.insert(TIDEGATE_AFTER, HeaderValue::from_static("lsn=0/7"));
        assert_eq!(take_from_request(&mut headers), Ok("lsn=0/7".parse().ok()));
        assert!(headers.is_empty());
    }

    #[test]
    fn malformed_token_removed() {
        let mut headers = cookies(&["tidegate-after=malformed"]);
        assert!(take_from_request(&mut headers).is_err());
        assert!(headers.is_empty());
    }

    #[test]
    fn cookie_over_https_is_secure() {
        let mut headers = HeaderMap::new();
        set_cookie(&mut headers, &TOKEN.parse().expect("a token"), Scheme::Https);
        assert_eq!(
            headers[SET_COOKIE],
            "tidegate-after=v1.0123456789abcdef.2a; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
        );
    }
}
