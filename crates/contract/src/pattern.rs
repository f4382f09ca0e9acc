use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::key::Key;
use crate::tag::Tag;

/// Keys or tags by what they look like: each `*` stands for any text, also none, and everything else
/// for itself. `v1:catalog:price:*`, `category-*`.
///
/// A pattern is never longer than what it is meant for, and never everything: that is another order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// It names one key or tag.
    #[error("there is no `*` in it, so it is no pattern but one name")]
    NoStar,
    /// Longer than what it is meant for can be.
    #[error("a pattern has at most {max} bytes here, this one has {bytes}")]
    TooLong {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// More stars than [`Pattern::MAX_STARS`].
    #[error("a pattern has at most {max} `*`, this one has {0}", max = Pattern::MAX_STARS)]
    TooManyStars(usize),
    /// Fixes almost nothing.
    #[error(
        "it is as good as everything: give at least {min} characters beside `*` and `:`, or say so \
         (`all`)",
        min = Pattern::MIN_FIXED
    )]
    TooWide,
    /// Something that stands in no key or tag, at this byte.
    #[error("no key or tag has such a character as stands at byte {0}")]
    Byte(usize),
    /// Keys begin otherwise.
    #[error("no key is like it: keys look like v1:catalog:price:42")]
    NoKey,
}

impl Pattern {
    /// The most stars; several in a row count as one.
    pub const MAX_STARS: usize = 8;
    /// The least characters beside `*` and `:`.
    pub const MIN_FIXED: usize = 2;

    /// A pattern for keys.
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

    /// A pattern for surrogate keys.
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
        let mut tidy = String::with_capacity(text.len());
        for byte in text.chars() {
            if byte != '*' || !tidy.ends_with('*') {
                tidy.push(byte);
            }
        }
        match tidy.matches('*').count() {
            0 => return Err(PatternError::NoStar),
            stars if stars > Self::MAX_STARS => return Err(PatternError::TooManyStars(stars)),
            _ => {}
        }
        let fixed = tidy.bytes().filter(|byte| !matches!(byte, b'*' | b':')).count();
        if fixed < Self::MIN_FIXED {
            return Err(PatternError::TooWide);
        }
        Ok(Self(tidy.into()))
    }

    /// The pattern's text, with no two stars in a row.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a key or tag of this text is like the pattern. Time: at most the product of both
    /// lengths.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let last = pieces.next_back().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        // The leftmost place for each piece leaves the most room for those behind it.
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

    /// By the definition, letter by letter.
    fn like(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, _) => text.is_empty(),
            (Some((b'*', rest)), _) => {
                like(rest, text) || (!text.is_empty() && like(pattern, &text[1..]))
            }
            (Some((want, rest)), Some((have, left))) => want == have && like(rest, left),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

        #[test]
        fn a_star_stands_for_any_text(pattern in "[ab*]{1,9}", text in "[ab]{0,9}") {
            if let Ok(parsed) = Pattern::of_tags(&pattern) {
                let expected = like(pattern.as_bytes(), text.as_bytes());
                prop_assert_eq!(parsed.matches(&text), expected, "{} {}", pattern, text);
            }
        }

        #[test]
        fn any_text_is_a_pattern_or_is_refused(text in any::<String>()) {
            let _ = Pattern::of_keys(&text);
            if let Ok(pattern) = Pattern::of_tags(&text) {
                prop_assert_eq!(Pattern::of_tags(pattern.as_str()), Ok(pattern));
            }
        }
    }

    #[test]
    fn everything_else_stands_for_itself() {
        let prices = Pattern::of_keys("v1:catalog:price:*").expect("a pattern");
        assert!(prices.matches("v1:catalog:price:42") && prices.matches("v1:catalog:price:42:de"));
        assert!(!prices.matches("v1:catalog:prices:42"));
        let dotted = Pattern::of_tags("a.c?[x]-*").expect("a pattern");
        assert!(dotted.matches("a.c?[x]-1") && !dotted.matches("abcd[x]-1"));
        let ends = Pattern::of_tags("ab*ba").expect("a pattern");
        assert!(ends.matches("abba") && !ends.matches("aba"), "both ends have their own letters");
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_a_reason() {
        let keys = |text: &str| Pattern::of_keys(text).expect_err(text).to_string();
        assert!(keys("v1:catalog:price:42").contains("no `*`"));
        assert!(keys("product-*").contains("v1:catalog:price:42"));
        assert!(keys("vx*").contains("no key is like it"));
        assert!(keys("v1:{a}:*").contains("byte 3"));
        for wide in ["*", "***", "v*", "*:*", "v*:*:*"] {
            assert!(keys(wide).contains("as good as everything"), "{wide}");
        }
        let tags = |text: &str| Pattern::of_tags(text).expect_err(text).to_string();
        assert!(tags("*-*").contains("as good as everything"));
        assert!(tags("a b*").contains("byte 1"));
        assert!(tags(&"ab*".repeat(9)).contains("at most 8"));
        assert!(tags(&format!("{}*", "x".repeat(256))).contains("at most 256 bytes"));
        assert_eq!(Pattern::of_tags("ab***").expect("a pattern").as_str(), "ab*");
    }
}
