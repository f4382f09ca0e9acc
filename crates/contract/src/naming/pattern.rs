//! Patterns of keys and tags, for purges.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::naming::key::Key;
use crate::naming::tag::Tag;

/// A pattern of keys or tags, such as `v1:catalog:price:*` or `category-*`. Each `*` matches any text,
/// including none; every other character matches itself.
///
/// A pattern is at most as long as a key or tag, and never matches nearly everything: to purge
/// everything, a purge request needs `all`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

/// Text that is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// The text has no `*`, so it is one key or tag.
    #[error("the pattern has no `*`, so it is a single key or tag")]
    NoStar,
    /// The pattern is longer than a key or tag can be.
    #[error("a pattern has at most {max} bytes here, this one has {bytes}")]
    TooLong {
        /// The length in bytes.
        bytes: usize,
        /// The maximum length in bytes.
        max: usize,
    },
    /// The pattern has more stars than [`Pattern::MAX_STARS`].
    #[error("a pattern has at most {max} `*`, this one has {0}", max = Pattern::MAX_STARS)]
    TooManyStars(usize),
    /// The pattern has fewer fixed characters than [`Pattern::MIN_FIXED`].
    #[error(
        "the pattern matches nearly everything: use at least {min} characters other than `*` and `:`, \
         or `all` to match everything",
        min = Pattern::MIN_FIXED
    )]
    TooWide,
    /// The character at this byte occurs in no key or tag.
    #[error("the character at byte {0} occurs in no key or tag")]
    Byte(usize),
    /// No key starts like this pattern.
    #[error("the pattern matches no key: keys look like v1:catalog:price:42")]
    NoKey,
}

impl Pattern {
    /// The maximum number of stars; several in a row count as one.
    pub const MAX_STARS: usize = 8;
    /// The minimum number of characters other than `*` and `:`.
    pub const MIN_FIXED: usize = 2;

    /// Parses a pattern of keys.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn of_keys(text: &str) -> Result<Self, PatternError> {
        let pattern = Self::parse(text, Key::MAX_BYTES)?;
        if let Some(at) = text.bytes().position(|byte| matches!(byte, b'{' | b'}')) {
            return Err(PatternError::Byte(at));
        }
        let mut start = pattern.0.bytes();
        let version = match (start.next(), start.next()) {
            (Some(b'*'), _) | (Some(b'v'), Some(b'*')) => true,
            (Some(b'v'), Some(digit)) => digit.is_ascii_digit(),
            _ => false,
        };
        if version { Ok(pattern) } else { Err(PatternError::NoKey) }
    }

    /// Parses a pattern of tags (surrogate keys).
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn of_tags(text: &str) -> Result<Self, PatternError> {
        Self::parse(text, Tag::MAX_BYTES)
    }

    fn parse(text: &str, max: usize) -> Result<Self, PatternError> {
        if text.len() > max {
            return Err(PatternError::TooLong { bytes: text.len(), max });
        }
        if let Some(at) = text.bytes().position(|byte| !byte.is_ascii_graphic()) {
            return Err(PatternError::Byte(at));
        }
        let mut collapsed = String::with_capacity(text.len());
        for byte in text.chars() {
            if byte != '*' || !collapsed.ends_with('*') {
                collapsed.push(byte);
            }
        }
        match collapsed.matches('*').count() {
            0 => return Err(PatternError::NoStar),
            stars if stars > Self::MAX_STARS => return Err(PatternError::TooManyStars(stars)),
            _ => {}
        }
        let fixed = collapsed.bytes().filter(|byte| !matches!(byte, b'*' | b':')).count();
        if fixed < Self::MIN_FIXED {
            return Err(PatternError::TooWide);
        }
        Ok(Self(collapsed.into()))
    }

    /// Returns the pattern's text, without adjacent stars.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the pattern matches `text`, a key or tag. Time: at most the product of both
    /// lengths.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let last = pieces.next_back().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        // The leftmost match of each piece leaves the most text for the pieces after it.
        for piece in pieces {
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, letter by letter: the reference for `Pattern::matches`.
    fn matches_by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, _) => text.is_empty(),
            (Some((b'*', rest)), _) => {
                matches_by_definition(rest, text)
                    || (!text.is_empty() && matches_by_definition(pattern, &text[1..]))
            }
            (Some((want, rest)), Some((have, left))) => {
                want == have && matches_by_definition(rest, left)
            }
            (Some(_), None) => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

        #[test]
        fn star_matches_any_text(pattern in "[ab*]{1,9}", text in "[ab]{0,9}") {
            if let Ok(parsed) = Pattern::of_tags(&pattern) {
                let expected = matches_by_definition(pattern.as_bytes(), text.as_bytes());
                prop_assert_eq!(parsed.matches(&text), expected, "{} {}", pattern, text);
            }
        }

        #[test]
        fn any_text_parses_or_errors(text in any::<String>()) {
            let _ = Pattern::of_keys(&text);
            if let Ok(pattern) = Pattern::of_tags(&text) {
                prop_assert_eq!(Pattern::of_tags(pattern.as_str()), Ok(pattern));
            }
        }
    }

    #[test]
    fn other_characters_match_themselves() {
        let prices = Pattern::of_keys("v1:catalog:price:*").expect("a pattern");
        assert!(prices.matches("v1:catalog:price:42") && prices.matches("v1:catalog:price:42:de"));
        assert!(!prices.matches("v1:catalog:prices:42"));
        let dotted = Pattern::of_tags("a.c?[x]-*").expect("a pattern");
        assert!(dotted.matches("a.c?[x]-1") && !dotted.matches("abcd[x]-1"));
        let ends = Pattern::of_tags("ab*ba").expect("a pattern");
        assert!(ends.matches("abba") && !ends.matches("aba"), "prefix and suffix do not overlap");
    }

    #[test]
    fn malformed_pattern_rejected() {
        let keys = |text: &str| Pattern::of_keys(text).expect_err(text).to_string();
        assert!(keys("v1:catalog:price:42").contains("has no `*`"));
        assert!(keys("product-*").contains("v1:catalog:price:42"));
        assert!(keys("vx*").contains("matches no key"));
        assert!(keys("v1:{a}:*").contains("byte 3"));
        for wide in ["*", "***", "v*", "*:*", "v*:*:*"] {
            assert!(keys(wide).contains("nearly everything"), "{wide}");
        }
        let tags = |text: &str| Pattern::of_tags(text).expect_err(text).to_string();
        assert!(tags("*-*").contains("nearly everything"));
        assert!(tags("a b*").contains("byte 1"));
        assert!(tags(&"ab*".repeat(9)).contains("at most 8"));
        assert!(tags(&format!("{}*", "x".repeat(256))).contains("at most 256 bytes"));
        assert_eq!(Pattern::of_tags("ab***").expect("a pattern").as_str(), "ab*");
    }
}
