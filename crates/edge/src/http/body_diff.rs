//! The comparison of two bodies, apart from the parts that a route declares as volatile.

use std::ops::Range;

use regex::bytes::Regex;

/// The most bytes of each body that a finding quotes.
const QUOTED_BYTES: usize = 80;

/// The parts of a page that may differ between two loads.
#[derive(Clone, Debug, Default)]
pub(crate) struct IgnoredParts(Vec<Regex>);

/// The first difference of two bodies.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Difference {
    /// The offset in the first body, from 0.
    pub(crate) offset: usize,
    /// The line in the first body, from 1.
    pub(crate) line: usize,
    /// The text of both bodies from there.
    pub(crate) texts: [String; 2],
}

impl IgnoredParts {
    /// Parses regular expressions.
    ///
    /// # Errors
    /// The first that is none, with the reason.
    pub(crate) fn parse(patterns: &[String]) -> Result<Self, String> {
        let parse =
            |pattern: &String| Regex::new(pattern).map_err(|err| format!("{pattern:?}: {err}"));
        patterns.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the ranges of `body` outside the ignored parts, in order.
    fn compared(&self, body: &[u8]) -> Vec<Range<usize>> {
        let matches = self.0.iter().flat_map(|pattern| pattern.find_iter(body));
        let mut ignored: Vec<Range<usize>> = matches.map(|found| found.range()).collect();
        ignored.sort_by_key(|range| range.start);
        let mut compared = Vec::with_capacity(ignored.len() + 1);
        let mut at = 0;
        for range in ignored {
            if range.start > at {
                compared.push(at..range.start);
            }
            at = at.max(range.end);
        }
        compared.push(at..body.len());
        compared
    }

    /// Returns the first difference of two bodies outside the ignored parts.
    pub(crate) fn first_difference(&self, one: &[u8], other: &[u8]) -> Option<Difference> {
        if one == other {
            return None;
        }
        let ranges = [one, other].map(|body| self.compared(body));
        let [mut ours, mut theirs] =
            ranges.each_ref().map(|ranges| ranges.iter().cloned().flatten());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return None,
                (Some(a), Some(b)) if one[a] == other[b] => {}
                (a, b) => {
                    let [a, b] = [a.unwrap_or(one.len()), b.unwrap_or(other.len())];
                    let line = 1 + one[..a].iter().filter(|byte| **byte == b'\n').count();
                    let texts = [quote(&one[a..]), quote(&other[b..])];
                    return Some(Difference { offset: a, line, texts });
                }
            }
        }
    }
}

/// Returns the start of a body as text.
fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(QUOTED_BYTES)]).into_owned();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(ignored: &[&str], one: &str, other: &str) -> Option<(usize, usize, String)> {
        let patterns: Vec<String> = ignored.iter().map(|text| (*text).to_owned()).collect();
        let ignored = IgnoredParts::parse(&patterns).expect("patterns");
        let found = ignored.first_difference(one.as_bytes(), other.as_bytes())?;
        Some((found.offset, found.line, found.texts.join("|")))
    }

    #[test]
    fn first_difference_has_its_place() {
        assert_eq!(difference(&[], "a\nbc", "a\nbc"), None);
        assert_eq!(difference(&[], "a\nbc", "a\nbd"), Some((3, 2, "c|d".into())));
        assert_eq!(difference(&[], "ab", "abc"), Some((2, 1, "|c".into())));
        assert_eq!(difference(&[], "", "x"), Some((0, 1, "|x".into())));
    }

    #[test]
    fn ignored_parts_may_differ() {
        let token = ["token=\"[0-9a-f]*\"", "<time>.*?</time>"];
        let page = |token: &str, price: &str| {
            format!("<form token=\"{token}\"><time>{token}</time><b>{price}</b>")
        };
        assert_eq!(difference(&token, &page("aa", "1"), &page("bbbb", "1")), None);
        let found =
            difference(&token, &page("aa", "1"), &page("bbbb", "2")).expect("another price");
        assert!(found.2.starts_with("1</b>|2</b>"), "{found:?}");
        // A part that only one of them has is a difference of the rest only.
        assert_eq!(difference(&["x+"], "axxb", "ab"), None);
        assert_eq!(difference(&["x*"], "axxb", "ab"), None, "empty matches ignore nothing");
    }

    #[test]
    fn invalid_pattern_named() {
        let err = IgnoredParts::parse(&["(".to_owned()]).expect_err("no pattern");
        assert!(err.contains("\"(\""), "{err}");
    }
}
