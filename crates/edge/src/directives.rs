//! `Cache-Control` and its targeted form, as a shared cache reads them.

use http::HeaderValue;
use http::header::GetAll;

/// A directive that carries seconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Seconds {
    /// Not there.
    #[default]
    Absent,
    /// There, once, or several times with the same value.
    Given(u64),
    /// There, but unreadable or contradicting itself: counts as already stale (RFC 9111 §4.2.1).
    Invalid,
}

impl Seconds {
    fn give(&mut self, value: Option<&str>) {
        let read = value.map(unquoted).and_then(delta_seconds);
        *self = match (*self, read) {
            (Self::Absent, Some(seconds)) => Self::Given(seconds),
            (Self::Given(before), Some(seconds)) if before == seconds => Self::Given(seconds),
            _ => Self::Invalid,
        };
    }
}

/// The response directives that a shared cache has to obey.
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
    /// Reads `Cache-Control` (RFC 9111 §5.2.2). `None`: there is none. A field that is not text
    /// counts as `no-store`, because nobody knows what it forbids.
    pub(crate) fn cache_control(fields: &GetAll<'_, HeaderValue>) -> Option<Self> {
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

    /// Reads `CDN-Cache-Control` (RFC 9213): a structured dictionary, taken whole or not at all.
    pub(crate) fn targeted(fields: &GetAll<'_, HeaderValue>) -> Option<Self> {
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

    fn add(&mut self, name: &str, value: Option<&str>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("max-age") {
            self.max_age.give(value);
        } else if is("s-maxage") {
            self.s_maxage.give(value);
            self.revalidate = true;
        } else if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            // Also in its qualified form, `no-cache="x"`: a cache may treat it as the plain one.
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

/// Splits a list of `name[=value]` at the commas that are outside quotes.
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

/// RFC 9111 §1.2.2: digits only; what is too large for us is as good as for ever.
pub(crate) fn delta_seconds(text: &str) -> Option<u64> {
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

/// An integer, token or string of RFC 9651, loosely.
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

    fn read(fields: &[&str]) -> Directives {
        Directives::cache_control(&headers(fields).get_all(CACHE_CONTROL)).expect("is there")
    }

    fn read_targeted(field: &str) -> Option<Directives> {
        Directives::targeted(&headers(&[field]).get_all(CACHE_CONTROL))
    }

    #[test]
    fn directives_are_found_in_any_case_and_over_several_fields() {
        let all = read(&["Public, MAX-AGE=60", "s-maxage=\"30\" , must-revalidate"]);
        assert_eq!(all.max_age, Seconds::Given(60));
        assert_eq!(all.s_maxage, Seconds::Given(30));
        assert!(all.public && all.revalidate && !all.private);
    }

    #[test]
    fn a_comma_in_quotes_hides_nothing() {
        let all = read(&["no-cache=\"set-cookie, x\\\"\", private"]);
        assert!(all.no_cache && all.private);
        assert!(!read(&["ext=\", private\""]).private);
    }

    #[test]
    fn contradictions_and_rubbish_are_invalid() {
        assert_eq!(read(&["max-age=60, max-age=61"]).max_age, Seconds::Invalid);
        assert_eq!(read(&["max-age=60, max-age=60"]).max_age, Seconds::Given(60));
        for rubbish in ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=ten"] {
            assert_eq!(read(&[rubbish]).max_age, Seconds::Invalid, "{rubbish}");
        }
        assert_eq!(
            read(&["max-age=99999999999999999999"]).max_age,
            Seconds::Given(u64::from(u32::MAX))
        );
        assert!(read(&["max-age=60\u{e9}"]).no_store);
    }

    #[test]
    fn the_targeted_field_is_taken_whole_or_not_at_all() {
        let all = read_targeted("max-age=600, private=?0;x=1, no-store").expect("well formed");
        assert!(all.no_store && !all.private);
        assert_eq!(all.max_age, Seconds::Given(600));
        assert_eq!(read_targeted("max-age=600, Bad=1"), None);
        assert_eq!(read_targeted(""), None);
    }

    #[test]
    fn foreign_bytes_never_panic() {
        for text in ["=", ",", "\"", "\\", "a=\"\\", ";;=", "=,=\"", "max-age=\"", "?0=?1;"] {
            read(&[text]);
            read_targeted(text);
        }
    }
}
