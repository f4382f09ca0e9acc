use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::key::hashed;
use crate::template::{self, Part};

/// A surrogate key: a name that entries carry so that one invalidation reaches all of them.
///
/// Visible ASCII without spaces, 1 to [`Tag::MAX_BYTES`] bytes, so that it survives a
/// `Surrogate-Key` header unchanged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

/// Why a string is no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TagError {
    /// Nothing there.
    #[error("a tag can't be empty")]
    Empty,
    /// Longer than [`Tag::MAX_BYTES`].
    #[error("a tag has at most {max} bytes, this one has {0}", max = Tag::MAX_BYTES)]
    TooLong(usize),
    /// A space, a control character or something outside ASCII, at this byte.
    #[error("a tag is visible ASCII without spaces; byte {0} is not")]
    Byte(usize),
}

impl Tag {
    /// The longest tag in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Checks `text` and makes it a tag, as it stands.
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

    /// The tag's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A tag with the row's columns left open: `category-{category_id}`.
///
/// `{id}` stands for the contract's id (the column `from.key`), any other placeholder for the
/// column of that name. Values are written as they are where they are visible ASCII, so that a page
/// whose `Surrogate-Key` says `product-42` is reached; every other byte, and `%`, is written `%XX`.
/// `{email|hash}` writes a hash instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagTemplate {
    text: String,
    parts: Vec<Part>,
}

impl TagTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = template::parts(text)?;
        let mut literal_bytes = 0;
        for part in &parts {
            if let Part::Literal(literal) = part {
                literal_bytes += literal.len();
                Tag::parse(literal).map_err(|err| err.to_string())?;
            }
        }
        // What is left must hold a hashed value, or long values could not be written at all.
        if literal_bytes > Tag::MAX_BYTES / 2 {
            return Err(format!(
                "it has {literal_bytes} fixed bytes; at most {} leave room for values",
                Tag::MAX_BYTES / 2
            ));
        }
        if parts.is_empty() {
            return Err(TagError::Empty.to_string());
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The placeholders in order, each once.
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

    /// Writes the tag with the values that `value` gives for placeholders.
    ///
    /// Two different rows may share a tag (`{a}-{b}` with `1-2`, `3` and `1`, `2-3`): a tag that is
    /// too wide invalidates too much, never too little. A tag that would be too long is written
    /// with a hash of its values in their place.
    ///
    /// # Errors
    /// The first placeholder that has no value.
    pub fn tag<'a>(&'a self, value: impl Fn(&str) -> Option<&'a str>) -> Result<Tag, &'a str> {
        let mut plain = String::with_capacity(self.text.len() + 16);
        for part in &self.parts {
            match part {
                Part::Literal(literal) => plain.push_str(literal),
                Part::Placeholder { name, hash } => {
                    let value = value(name).ok_or(name.as_str())?;
                    if *hash {
                        plain.push_str(&hashed(value));
                    } else {
                        escape_into(&mut plain, value);
                    }
                }
            }
        }
        if plain.len() > Tag::MAX_BYTES {
            plain = self.shortened(&plain);
        }
        // A template of placeholders alone, all of them empty text, leaves nothing to write.
        if plain.is_empty() {
            plain.push('%');
        }
        Ok(Tag(plain.into()))
    }

    fn shortened(&self, plain: &str) -> String {
        let mut short = String::with_capacity(Tag::MAX_BYTES);
        for part in &self.parts {
            if let Part::Literal(literal) = part {
                short.push_str(literal);
            }
        }
        short.push_str(&hashed(plain));
        short
    }
}

fn escape_into(out: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
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
