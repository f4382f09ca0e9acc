//! What a request's headers hold that decides its way, found in one pass.

use http::HeaderMap;

/// Which of the headers that matter to the gateway a request has. Most requests have few of them, and
/// what is not there need not be looked up one by one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Noted(u16);

impl Noted {
    pub(crate) const HOST: Self = Self(1);
    /// A second `Host`.
    pub(crate) const HOSTS: Self = Self(1 << 1);
    pub(crate) const COOKIE: Self = Self(1 << 2);
    /// `Tidegate-After`.
    pub(crate) const AFTER: Self = Self(1 << 3);
    pub(crate) const REQUEST_ID: Self = Self(1 << 4);
    pub(crate) const FORWARDED_PROTO: Self = Self(1 << 5);
    pub(crate) const UPGRADE: Self = Self(1 << 6);
    pub(crate) const EXPECT: Self = Self(1 << 7);
    pub(crate) const VIA: Self = Self(1 << 8);
    pub(crate) const AUTHORIZATION: Self = Self(1 << 9);
    /// `If-Match`, `If-Unmodified-Since`, `If-Range`: conditions that are the upstream's to judge.
    pub(crate) const CONDITION: Self = Self(1 << 10);
    pub(crate) const RANGE: Self = Self(1 << 11);
    pub(crate) const ACCEPT_ENCODING: Self = Self(1 << 12);
    /// `If-None-Match`, `If-Modified-Since`: whether the client has the page already.
    pub(crate) const HAS_IT: Self = Self(1 << 13);

    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut noted = 0;
        for (name, _) in headers {
            noted |= match name.as_str() {
                "host" if noted & Self::HOST.0 != 0 => Self::HOSTS,
                "host" => Self::HOST,
                "cookie" => Self::COOKIE,
                "tidegate-after" => Self::AFTER,
                "x-request-id" => Self::REQUEST_ID,
                "x-forwarded-proto" => Self::FORWARDED_PROTO,
                "upgrade" => Self::UPGRADE,
                "expect" => Self::EXPECT,
                "via" => Self::VIA,
                "authorization" => Self::AUTHORIZATION,
                "if-match" | "if-unmodified-since" | "if-range" => Self::CONDITION,
                "range" => Self::RANGE,
                "accept-encoding" => Self::ACCEPT_ENCODING,
                "if-none-match" | "if-modified-since" => Self::HAS_IT,
                _ => continue,
            }
            .0;
        }
        Self(noted)
    }

    /// Whether the request has this header, or one of these.
    pub(crate) fn any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use http::header::{
        ACCEPT_ENCODING, AUTHORIZATION, COOKIE, EXPECT, HOST, IF_MATCH, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, UPGRADE, USER_AGENT, VIA,
    };
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::forward::X_FORWARDED_PROTO;
    use crate::request_id::X_REQUEST_ID;
    use crate::token::TIDEGATE_AFTER;

    /// By the constants that the rest of the gateway looks headers up with.
    const NAMES: [(HeaderName, Noted); 16] = [
        (HOST, Noted::HOST),
        (COOKIE, Noted::COOKIE),
        (TIDEGATE_AFTER, Noted::AFTER),
        (X_REQUEST_ID, Noted::REQUEST_ID),
        (X_FORWARDED_PROTO, Noted::FORWARDED_PROTO),
        (UPGRADE, Noted::UPGRADE),
        (EXPECT, Noted::EXPECT),
        (VIA, Noted::VIA),
        (AUTHORIZATION, Noted::AUTHORIZATION),
        (IF_MATCH, Noted::CONDITION),
        (IF_UNMODIFIED_SINCE, Noted::CONDITION),
        (IF_RANGE, Noted::CONDITION),
        (RANGE, Noted::RANGE),
        (ACCEPT_ENCODING, Noted::ACCEPT_ENCODING),
        (IF_NONE_MATCH, Noted::HAS_IT),
        (IF_MODIFIED_SINCE, Noted::HAS_IT),
    ];

    #[test]
    fn each_header_is_noted_and_no_other() {
        for (name, noted) in NAMES {
            let headers = HeaderMap::from_iter([
                (USER_AGENT, HeaderValue::from_static("x")),
                (name.clone(), HeaderValue::from_static("y")),
            ]);
            assert_eq!(Noted::of(&headers), noted, "{name}");
        }
        assert_eq!(Noted::of(&HeaderMap::new()), Noted::default());
    }

    #[test]
    fn a_second_host_is_noted() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("a"));
        assert!(!Noted::of(&headers).any(Noted::HOSTS));
        headers.append(HOST, HeaderValue::from_static("a"));
        assert!(Noted::of(&headers).any(Noted::HOSTS));
    }
}
