//! The response fields that tell a shared cache how long a response is fresh: `Cache-Control`, its
//! targeted form, `Expires` and `Age` (RFC 9111, RFC 9213).

use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, GetAll};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::date;

pub(crate) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// `Cache-Control` of responses whose staleness in a client's own cache no bound would include.
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The value of a directive in seconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Seconds {
    /// The directive is missing.
    #[default]
    Absent,
    /// Present once, or several times with the same value.
    Given(u64),
    /// Present, but malformed or contradictory; counts as already stale (RFC 9111 §4.2.1).
    Invalid,
}

impl Seconds {
    fn add(&mut self, value: Option<&str>) {
        let parsed = value.map(unquoted).and_then(delta_seconds);
        *self = match (*self, parsed) {
            (Self::Absent, Some(seconds)) => Self::Given(seconds),
            (Self::Given(before), Some(seconds)) if before == seconds => Self::Given(seconds),
            _ => Self::Invalid,
        };
    }
}

/// The response directives that a shared cache must obey.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Directives {
    pub(crate) max_age: Seconds,
    pub(crate) s_maxage: Seconds,
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) private: bool,
    pub(crate) public: bool,
    /// `must-revalidate` or `proxy-revalidate`, or `s-maxage`, which implies the latter.
    pub(crate) revalidate: bool,
}

impl Directives {
    /// Parses `Cache-Control` (RFC 9111 §5.2.2). `None`: the field is missing. A field that is not
    /// visible ASCII counts as `no-store`, because the directives in it are unknown.
    fn cache_control(fields: &GetAll<'_, HeaderValue>) -> Option<Self> {
        let mut found = None;
        for field in fields {
            let all: &mut Self = found.get_or_insert_default();
            match field.to_str() {
                Ok(text) => items(text).for_each(|(name, value)| all.add(name, value)),
                Err(_) => all.no_store = true,
            }
        }
        found
    }

    /// Parses `CDN-Cache-Control` (RFC 9213). The field is a structured dictionary; `None` if it is
    /// missing, or malformed in any part.
    fn targeted(fields: &GetAll<'_, HeaderValue>) -> Option<Self> {
        let mut all = Self::default();
        let mut any = false;
        for field in fields {
            for (name, value) in items(field.to_str().ok()?) {
                let parameters = value.and_then(|value| value.split_once(';'));
                let value = parameters.map(|(bare, _)| bare).or(value).map(str::trim);
                let name = name.split_once(';').map_or(name, |(bare, _)| bare).trim();
                if !is_dictionary_key(name) {
                    return None;
                }
                // Of another type than Integer, it would be a lifetime that other caches do not see.
                let is_lifetime = matches!(name, "max-age" | "s-maxage");
                if is_lifetime && value.and_then(delta_seconds).is_none() {
                    return None;
                }
                match value {
                    Some("?0") => {}
                    Some("?1") | None => all.add(name, None),
                    Some(value) if is_bare_item(value) => all.add(name, Some(value)),
                    Some(_) => return None,
                }
                any = true;
            }
        }
        any.then_some(all)
    }

    /// The directives that apply to a response: those of `CDN-Cache-Control` if it is well formed,
    /// else those of `Cache-Control`. The flag tells whether they come from `CDN-Cache-Control`.
    pub(crate) fn effective(headers: &HeaderMap) -> (Self, bool) {
        match Self::targeted(&headers.get_all(CDN_CACHE_CONTROL)) {
            Some(targeted) => (targeted, true),
            None => {
                let general = Self::cache_control(&headers.get_all(CACHE_CONTROL));
                (general.unwrap_or_default(), false)
            }
        }
    }

    fn add(&mut self, name: &str, value: Option<&str>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("max-age") {
            self.max_age.add(value);
        } else if is("s-maxage") {
            self.s_maxage.add(value);
            self.revalidate = true;
        } else if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            // The qualified form, `no-cache="x"`, may be treated as the plain one (RFC 9111 §5.2.2.4).
            self.no_cache = true;
        } else if is("private") {
            self.private = true;
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") || is("proxy-revalidate") {
            self.revalidate = true;
        }
    }
}

/// Returns a field of directives in which no `max-age` and no `s-maxage` is longer than `longest`, in seconds.
pub(crate) fn with_max_age(field: HeaderValue, longest: u64) -> HeaderValue {
    let Ok(text) = field.to_str() else { return field };
    let shortened = items(text).map(|(name, value)| {
        let is_lifetime =
            ["max-age", "s-maxage"].iter().any(|known| name.eq_ignore_ascii_case(known));
        // A value of another form counts as stale.
        let seconds = value.map(unquoted).and_then(delta_seconds);
        match (value, seconds.filter(|seconds| is_lifetime && *seconds > longest)) {
            (_, Some(_)) => format!("{name}={longest}"),
            (Some(value), None) => format!("{name}={value}"),
            (None, None) => name.to_owned(),
        }
    });
    let shortened = shortened.collect::<Vec<_>>().join(", ");
    HeaderValue::try_from(shortened).unwrap_or(field)
}

/// The lifetime by `Expires` in seconds; `now_s` stands in for a missing `Date`. `None`: `Expires` is
/// missing, malformed or repeated, which counts as already stale (RFC 9111 §5.3).
pub(crate) fn expires_in(headers: &HeaderMap, now_s: u64) -> Option<u64> {
    let mut fields = headers.get_all(EXPIRES).iter();
    let expires = date::parse(fields.next()?.to_str().ok()?)?;
    if fields.next().is_some() {
        return None;
    }
    let date = headers.get(DATE).and_then(|date| date::parse(date.to_str().ok()?));
    Some(expires.saturating_sub(date.unwrap_or(now_s)))
}

/// `Age` in seconds; 0 if missing. Of a list, the largest counts: caches between here and the upstream may
/// have added members in either order. A malformed `Age` leaves the age unknown and counts as the largest.
pub(crate) fn age(headers: &HeaderMap) -> u32 {
    let members =
        headers.get_all(AGE).iter().flat_map(|age| age.to_str().unwrap_or_default().split(','));
    let seconds = members.map(|age| {
        let seconds = delta_seconds(age.trim());
        seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(u32::MAX)
    });
    seconds.max().unwrap_or(0)
}

/// Splits a list of `name[=value]` at commas outside quotes.
fn items(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.bytes().position(|byte| {
            let ends = byte == b',' && !quoted;
            if byte == b'"' && !escaped {
                quoted = !quoted;
            }
            escaped = quoted && byte == b'\\' && !escaped;
            ends
        });
        let item = &text[..end.unwrap_or(text.len())];
        rest = end.map(|end| &text[end + 1..]);
        Some(match item.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (item.trim(), None),
        })
    })
    .filter(|(name, _)| !name.is_empty())
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// Parses delta-seconds (RFC 9111 §1.2.2): digits only. A value beyond 64 bits is clamped to 2³² − 1.
fn delta_seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::from(u32::MAX)))
}

fn is_dictionary_key(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'*')
        && bytes.all(|byte| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || matches!(byte, b'_' | b'-' | b'.' | b'*')
        })
}

/// Accepts an integer, token or string of RFC 9651, without checking the details.
fn is_bare_item(value: &str) -> bool {
    let quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
    quoted
        || (!value.is_empty()
            && value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::CACHE_CONTROL;

    use super::*;

    fn headers(fields: &[&str]) -> HeaderMap {
        fields
            .iter()
            .map(|field| {
                (CACHE_CONTROL, HeaderValue::from_bytes(field.as_bytes()).expect("a value"))
            })
            .collect()
    }

    fn parse(fields: &[&str]) -> Directives {
        Directives::cache_control(&headers(fields).get_all(CACHE_CONTROL)).expect("present")
    }

    fn parse_targeted(field: &str) -> Option<Directives> {
        Directives::targeted(&headers(&[field]).get_all(CACHE_CONTROL))
    }

    #[test]
    fn directives_merge_across_fields_and_case() {
        let all = parse(&["Public, MAX-AGE=60", "s-maxage=\"30\" , must-revalidate"]);
        assert_eq!(all.max_age, Seconds::Given(60));
        assert_eq!(all.s_maxage, Seconds::Given(30));
        assert!(all.public && all.revalidate && !all.private);
    }

    #[test]
    fn quoted_comma_does_not_split_directive() {
        let all = parse(&["no-cache=\"set-cookie, x\\\"\", private"]);
        assert!(all.no_cache && all.private);
        assert!(!parse(&["ext=\", private\""]).private);
    }

    #[test]
    fn contradictory_or_malformed_max_age_invalid() {
        assert_eq!(parse(&["max-age=60, max-age=61"]).max_age, Seconds::Invalid);
        assert_eq!(parse(&["max-age=60, max-age=60"]).max_age, Seconds::Given(60));
        for malformed in ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=ten"] {
            assert_eq!(parse(&[malformed]).max_age, Seconds::Invalid, "{malformed}");
        }
        assert_eq!(
            parse(&["max-age=99999999999999999999"]).max_age,
            Seconds::Given(u64::from(u32::MAX))
        );
        assert!(parse(&["max-age=60\u{e9}"]).no_store);
    }

    #[test]
    fn malformed_targeted_field_ignored() {
        let all = parse_targeted("max-age=600, private=?0;x=1, no-store").expect("well formed");
        assert!(all.no_store && !all.private);
        assert_eq!(all.max_age, Seconds::Given(600));
        assert_eq!(parse_targeted("max-age=600, Bad=1"), None);
        assert_eq!(parse_targeted(""), None);
        for lifetime in ["max-age=\"600\"", "max-age=6.5", "max-age", "s-maxage=?1", "max-age=a"] {
            assert_eq!(parse_targeted(lifetime), None, "{lifetime}");
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        for text in ["=", ",", "\"", "\\", "a=\"\\", ";;=", "=,=\"", "max-age=\"", "?0=?1;"] {
            parse(&[text]);
            parse_targeted(text);
        }
    }
}
