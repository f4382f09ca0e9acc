//! The request headers that decide how the gateway handles a request, found in one pass.

use http::HeaderMap;

/// The set of headers of interest that a request has. Most requests have few of them; one pass over
/// the headers saves a lookup for each missing one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct HeaderSet(u16);

impl HeaderSet {
    pub(crate) const HOST: Self = Self(1);
    /// A second `Host`.
    pub(crate) const DUPLICATE_HOST: Self = Self(1 << 1);
    pub(crate) const COOKIE: Self = Self(1 << 2);
    pub(crate) const TIDEGATE_AFTER: Self = Self(1 << 3);
    pub(crate) const REQUEST_ID: Self = Self(1 << 4);
    /// `X-Forwarded-For`, `Forwarded`: a proxy describes the client, or the client claims to be one.
    pub(crate) const FORWARDED: Self = Self(1 << 5);
    pub(crate) const UPGRADE: Self = Self(1 << 6);
    pub(crate) const EXPECT: Self = Self(1 << 7);
    pub(crate) const VIA: Self = Self(1 << 8);
    pub(crate) const AUTHORIZATION: Self = Self(1 << 9);
    /// `If-Match`, `If-Unmodified-Since`, `If-Range`: preconditions that only the upstream evaluates.
    pub(crate) const PRECONDITION: Self = Self(1 << 10);
    pub(crate) const RANGE: Self = Self(1 << 11);
    pub(crate) const ACCEPT_ENCODING: Self = Self(1 << 12);
    /// `If-None-Match`, `If-Modified-Since`: the client revalidates a page that it has.
    pub(crate) const REVALIDATION: Self = Self(1 << 13);

    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut set = 0;
        for (name, _) in headers {
            set |= match name.as_str() {
                "host" if set & Self::HOST.0 != 0 => Self::DUPLICATE_HOST,
                "host" => Self::HOST,
                "cookie" => Self::COOKIE,
                "tidegate-after" => Self::TIDEGATE_AFTER,
                "x-request-id" => Self::REQUEST_ID,
                "x-forwarded-for" | "forwarded" => Self::FORWARDED,
                "upgrade" => Self::UPGRADE,
                "expect" => Self::EXPECT,
                "via" => Self::VIA,
                "authorization" => Self::AUTHORIZATION,
                "if-match" | "if-unmodified-since" | "if-range" => Self::PRECONDITION,
                "range" => Self::RANGE,
                "accept-encoding" => Self::ACCEPT_ENCODING,
                "if-none-match" | "if-modified-since" => Self::REVALIDATION,
                _ => continue,
            }
            .0;
        }
        Self(set)
    }

    /// Whether the request has any header of `other`.
    pub(crate) fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use http::header::{
        ACCEPT_ENCODING, AUTHORIZATION, COOKIE, EXPECT, FORWARDED, HOST, IF_MATCH,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, UPGRADE,
        USER_AGENT, VIA,
    };
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::http::client::X_FORWARDED_FOR;
    use crate::http::request_id::X_REQUEST_ID;
    use crate::http::ryw_token::TIDEGATE_AFTER;

    /// Uses the constants by which other modules look headers up.
    const NAMES: [(HeaderName, HeaderSet); 17] = [
        (HOST, HeaderSet::HOST),
        (COOKIE, HeaderSet::COOKIE),
        (TIDEGATE_AFTER, HeaderSet::TIDEGATE_AFTER),
        (X_REQUEST_ID, HeaderSet::REQUEST_ID),
        (X_FORWARDED_FOR, HeaderSet::FORWARDED),
        (FORWARDED, HeaderSet::FORWARDED),
        (UPGRADE, HeaderSet::UPGRADE),
        (EXPECT, HeaderSet::EXPECT),
        (VIA, HeaderSet::VIA),
        (AUTHORIZATION, HeaderSet::AUTHORIZATION),
        (IF_MATCH, HeaderSet::PRECONDITION),
        (IF_UNMODIFIED_SINCE, HeaderSet::PRECONDITION),
        (IF_RANGE, HeaderSet::PRECONDITION),
        (RANGE, HeaderSet::RANGE),
        (ACCEPT_ENCODING, HeaderSet::ACCEPT_ENCODING),
        (IF_NONE_MATCH, HeaderSet::REVALIDATION),
        (IF_MODIFIED_SINCE, HeaderSet::REVALIDATION),
    ];

    #[test]
    fn each_header_sets_its_bit() {
        for (name, set) in NAMES {
            let headers = HeaderMap::from_iter([
                (USER_AGENT, HeaderValue::from_static("x")),
                (name.clone(), HeaderValue::from_static("y")),
            ]);
            assert_eq!(HeaderSet::of(&headers), set, "{name}");
        }
        assert_eq!(HeaderSet::of(&HeaderMap::new()), HeaderSet::default());
    }

    #[test]
    fn second_host_detected() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("a"));
        assert!(!HeaderSet::of(&headers).any(HeaderSet::DUPLICATE_HOST));
        headers.append(HOST, HeaderValue::from_static("a"));
        assert!(HeaderSet::of(&headers).any(HeaderSet::DUPLICATE_HOST));
    }
}
