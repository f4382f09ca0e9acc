//! Tags (surrogate keys) and their templates.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::naming::digest::hash_text;
use crate::naming::percent;
use crate::naming::placeholder::{Part, parse_parts};

/// A surrogate key: a name that several entries carry, so that one invalidation reaches all of them.
///
/// Visible ASCII without spaces, 1 to [`Tag::MAX_BYTES`] bytes, so that a `Surrogate-Key` header
/// transports it unchanged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

/// Text that is not a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TagError {
    /// The text is empty.
    #[error("a tag must not be empty")]
    Empty,
    /// The text is longer than [`Tag::MAX_BYTES`].
    #[error("a tag has at most {max} bytes, this one has {0}", max = Tag::MAX_BYTES)]
    TooLong(usize),
    /// The byte at this offset is a space, a control character or outside ASCII.
    #[error("a tag is visible ASCII without spaces; byte {0} is not")]
    Byte(usize),
}

impl Tag {
    /// The maximum length of a tag in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Parses a tag. The text is taken unchanged.
    ///
    /// # Errors
    /// [`TagError`] when it is empty, too long or not visible ASCII.
    pub fn parse(text: &str) -> Result<Self, TagError> {
        if text.is_empty() {
            return Err(TagError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(TagError::TooLong(text.len()));
        }
        match text.bytes().position(|byte| !byte.is_ascii_graphic()) {
            Some(at) => Err(TagError::Byte(at)),
            None => Ok(Self(text.into())),
        }
    }

    /// Returns the tag's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A tag with placeholders for columns of the row: `category-{category_id}`.
///
/// `{id}` is the contract's id (the column `from.key`), a variant of the key its value, and any other placeholder the
/// column of that name, as `{row.id}` always is. Visible ASCII in a value is written as it is, so that a page whose `Surrogate-Key` contains
/// `product-42` is invalidated; every other byte, and `%`, is written as `%XX`. `{email|hash}` writes
/// a hash instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagTemplate {
    text: String,
    parts: Vec<Part>,
}

impl TagTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// A sentence that describes the first error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = parse_parts(text)?;
        let mut literal_bytes = 0;
        for part in &parts {
            if let Part::Literal(literal) = part {
                literal_bytes += literal.len();
                Tag::parse(literal).map_err(|err| err.to_string())?;
            }
        }
        // The rest must fit a hashed value; otherwise long values could not be written at all.
        if literal_bytes > Tag::MAX_BYTES / 2 {
            return Err(format!(
                "it has {literal_bytes} bytes of fixed text; the maximum is {}, which leaves room \
                 for values",
                Tag::MAX_BYTES / 2
            ));
        }
        if parts.is_empty() {
            return Err(TagError::Empty.to_string());
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Returns the template's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the placeholders in order, without duplicates.
    pub fn placeholders(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for part in &self.parts {
            if let Part::Placeholder { name, .. } = part
                && !names.contains(&name.as_str())
            {
                names.push(name.as_str());
            }
        }
        names
    }

    /// Returns whether both make the same tag of the same values, whichever names their placeholders have.
    pub fn has_form_of(&self, other: &Self) -> bool {
        let is_same = |pair: (&Part, &Part)| match pair {
            (Part::Literal(one), Part::Literal(other)) => one == other,
            (Part::Placeholder { hash: one, .. }, Part::Placeholder { hash: other, .. }) => {
                one == other
            }
            _ => false,
        };
        self.parts.len() == other.parts.len() && self.parts.iter().zip(&other.parts).all(is_same)
    }

    /// Returns the placeholders in order, each as often as it is there.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder { name, .. } => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// Makes the tag with the values that `value` returns for the placeholders.
    ///
    /// Two different rows may share a tag (`{a}-{b}` with `1-2`, `3` and `1`, `2-3`). That is safe: a
    /// shared tag invalidates too much, never too little. A tag that would be too long contains a
    /// hash in place of its values.
    ///
    /// # Errors
    /// The first placeholder without a value.
    pub fn tag<'a>(&'a self, value: impl Fn(&str) -> Option<&'a str>) -> Result<Tag, &'a str> {
        let mut plain = String::with_capacity(self.text.len() + 16);
        for part in &self.parts {
            match part {
                Part::Literal(literal) => plain.push_str(literal),
                Part::Placeholder { name, hash } => {
                    let value = value(name).ok_or(name.as_str())?;
                    if *hash {
                        plain.push_str(&hash_text(value));
                    } else {
                        percent::encode_into(&mut plain, value, is_literal);
                    }
                }
            }
        }
        if plain.len() > Tag::MAX_BYTES {
            plain = self.shorten(&plain);
        }
        // A template of placeholders only, all of whose values are empty text, makes no text.
        if plain.is_empty() {
            plain.push('%');
        }
        Ok(Tag(plain.into()))
    }

    /// Returns the value that [`tag`](Self::tag) writes as `escaped`; `None`: it writes none so.
    pub(crate) fn value_of(escaped: &str) -> Option<Cow<'_, str>> {
        if !escaped.contains('%') {
            return Some(Cow::Borrowed(escaped));
        }
        let value = percent::decode(escaped)?;
        let mut written = String::with_capacity(escaped.len());
        percent::encode_into(&mut written, &value, is_literal);
        (written == escaped).then_some(Cow::Owned(value))
    }

    /// Returns the text of a pattern that matches every tag of this template: `category-*`; `None` for a
    /// template without placeholders.
    pub(crate) fn pattern_text(&self) -> Option<String> {
        let is_placeholder = |part: &Part| matches!(part, Part::Placeholder { .. });
        let text = |part: &Part| match part {
            Part::Literal(literal) => literal.clone(),
            Part::Placeholder { .. } => "*".to_owned(),
        };
        // The last star is for a tag that would be too long, which ends with a hash.
        let pattern = || self.parts.iter().map(text).chain(["*".to_owned()]).collect();
        self.parts.iter().any(is_placeholder).then(pattern)
    }

    /// Returns whether `tag` can be one of this template's: its fixed text is in place, and `accepts` the name
    /// and the text of each placeholder. False for a template without fixed text, which any tag fits.
    pub fn could_make(&self, tag: &str, accepts: impl Fn(&str, &str) -> bool) -> bool {
        let has_literal = self.parts.iter().any(|part| matches!(part, Part::Literal(_)));
        has_literal && fits(&self.parts, tag, &accepts)
    }

    /// Returns the literals followed by a hash of the whole tag.
    fn shorten(&self, plain: &str) -> String {
        let mut short = String::with_capacity(Tag::MAX_BYTES);
        for part in &self.parts {
            if let Part::Literal(literal) = part {
                short.push_str(literal);
            }
        }
        short.push_str(&hash_text(plain));
        short
    }
}

/// Whether a tag contains this byte of a value as it is.
fn is_literal(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'%'
}

/// Returns whether `text` can be split into `parts`, with at least one byte per placeholder.
fn fits(parts: &[Part], text: &str, accepts: &impl Fn(&str, &str) -> bool) -> bool {
    match parts {
        [] => text.is_empty(),
        [Part::Literal(literal), rest @ ..] => {
            text.strip_prefix(literal.as_str()).is_some_and(|text| fits(rest, text, accepts))
        }
        [Part::Placeholder { name, hash }, rest @ ..] => {
            let ends = text.char_indices().skip(1).map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|end| {
                end > 0
                    && (*hash || accepts(name, &text[..end]))
                    && fits(rest, &text[end..], accepts)
            })
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({})", self.0)
    }
}

impl AsRef<str> for Tag {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
