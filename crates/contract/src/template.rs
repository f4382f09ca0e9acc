//! Templates with `{placeholders}`: the shared reader, and the key template on top of it.

use std::fmt;

use thiserror::Error;

use crate::key::{Key, KeyError, MAX_VERBATIM_BYTES, hashed, is_entity, is_service, is_unreserved};
use crate::lookalike;
use crate::pattern::{Pattern, PatternError};

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Literal(String),
    Placeholder {
        name: String,
        /// `{name|hash}`: the value is always written as its hash.
        hash: bool,
    },
}

/// Splits `text` into literals and placeholders.
pub(crate) fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        if rest.as_bytes()[open] == b'}' {
            return Err("a `}` closes nothing".to_owned());
        }
        if open > 0 {
            parts.push(Part::Literal(rest[..open].to_owned()));
        }
        let Some(length) = rest[open + 1..].find('}') else {
            return Err("a `{` is never closed".to_owned());
        };
        parts.push(placeholder(&rest[open + 1..open + 1 + length])?);
        rest = &rest[open + length + 2..];
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Ok(parts)
}

fn placeholder(inner: &str) -> Result<Part, String> {
    let (name, hash) = match inner.split_once('|') {
        None => (inner, false),
        Some((name, "hash")) => (name, true),
        Some((_, other)) => {
            return Err(format!("`|{other}` is unknown; the one filter is `|hash`"));
        }
    };
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    if !starts || !bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Err(format!(
            "`{{{inner}}}` is no placeholder: lower-case letters, digits and `_`, not first a digit"
        ));
    }
    Ok(Part::Placeholder { name: name.to_owned(), hash })
}

/// How the keys of a contract are made: `v1:catalog:price:{id}`.
///
/// The form is `v{n}:{service}:{entity}:{id}[:{variant}…]`. After the entity every segment is either
/// fixed text or exactly one placeholder, so keys of one template are told apart by their
/// parameters, and whether two templates can make the same key is decided without guessing.
///
/// Three kinds of placeholder: `{id}` (required, once), `{tenant}` (read from the row like the id)
/// and variants (any other name, such as `{locale}`, known to the reader but not to the row).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyTemplate {
    text: String,
    /// `v1:catalog:price`.
    prefix: String,
    segments: Vec<Part>,
}

/// Why a string is no key template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// Fewer than four segments.
    #[error("it has {0} of the four parts `v{{n}}:{{service}}:{{entity}}:{{id}}`")]
    Segments(usize),
    /// The first segment is no version.
    #[error("it starts with `{0}`; the first part is the version, `v1`, `v2`, …")]
    Version(String),
    /// The service name is malformed.
    #[error("`{0}` is no service name: lower-case letters, digits and `-`, a letter first")]
    Service(String),
    /// The entity name is malformed.
    #[error("`{0}` is no entity name: lower-case letters, digits, `-` and `_`, a letter first")]
    Entity(String),
    /// A segment after the entity is neither fixed text nor one placeholder.
    #[error(
        "the part `{0}` must be one placeholder or fixed text (letters, digits, `.`, `_`, `~`, `-`)"
    )]
    Segment(String),
    /// A placeholder is malformed.
    #[error("{0}")]
    Placeholder(String),
    /// A placeholder occurs twice.
    #[error("the placeholder `{{{0}}}` occurs twice")]
    Twice(String),
    /// `{id}` is missing.
    #[error("it has no `{{id}}`, so every entry would have the same key")]
    NoId,
    /// Fixed text alone is too long.
    #[error("it has {0} bytes; at most 256 leave room for values")]
    TooLong(usize),
}

impl KeyTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError`] names the first part that is wrong.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > 256 {
            return Err(TemplateError::TooLong(text.len()));
        }
        let all: Vec<&str> = text.split(':').collect();
        let [version, service, entity, rest @ ..] = all.as_slice() else {
            return Err(TemplateError::Segments(all.len()));
        };
        if rest.is_empty() {
            return Err(TemplateError::Segments(all.len()));
        }
        if !crate::key::is_version(version) {
            return Err(TemplateError::Version((*version).to_owned()));
        }
        if !is_service(service) {
            return Err(TemplateError::Service((*service).to_owned()));
        }
        if !is_entity(entity) {
            return Err(TemplateError::Entity((*entity).to_owned()));
        }
        let segments = rest.iter().map(|part| segment(part)).collect::<Result<Vec<_>, _>>()?;
        let template = Self {
            text: text.to_owned(),
            prefix: format!("{version}:{service}:{entity}"),
            segments,
        };
        let names = template.placeholders();
        if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name))
        {
            return Err(TemplateError::Twice((*twice.1).to_owned()));
        }
        if names.contains(&"id") { Ok(template) } else { Err(TemplateError::NoId) }
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The fixed start of every key: `v1:catalog:price`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The placeholders in order.
    pub fn placeholders(&self) -> Vec<&str> {
        self.segments
            .iter()
            .filter_map(|part| match part {
                Part::Placeholder { name, .. } => Some(name.as_str()),
                Part::Literal(_) => None,
            })
            .collect()
    }

    /// The placeholders that a row does not know: all but `id` and `tenant`.
    pub fn variants(&self) -> Vec<&str> {
        let mut names = self.placeholders();
        names.retain(|name| !matches!(*name, "id" | "tenant"));
        names
    }

    /// Whether `{tenant}` is part of the key.
    pub fn has_tenant(&self) -> bool {
        self.placeholders().contains(&"tenant")
    }

    /// Whether the placeholder is always written as a hash (`{query|hash}`).
    pub fn is_hashed(&self, placeholder: &str) -> bool {
        self.segments.iter().any(
            |part| matches!(part, Part::Placeholder { name, hash: true } if name == placeholder),
        )
    }

    /// Whether `key` has the form of this template's keys.
    pub fn fits(&self, key: &Key) -> bool {
        let Some(rest) = key.as_str().strip_prefix(&self.prefix) else { return false };
        let mut values = rest.split(':');
        // What comes before the first `:` belongs to the entity.
        values.next() == Some("")
            && self.segments.iter().all(|part| match (part, values.next()) {
                (Part::Literal(fixed), Some(value)) => fixed == value,
                (Part::Placeholder { .. }, value) => value.is_some(),
                (Part::Literal(_), None) => false,
            })
            && values.next().is_none()
    }

    /// Makes the key for `params`, pairs of placeholder and value; further pairs are ignored.
    ///
    /// Values of up to 64 bytes over `A–Z a–z 0–9 . _ ~ -` are written as they are. Everything else
    /// is free text and written as `h-` and the first 128 bits of its SHA-256 in hex. So different
    /// values never share a key (short of a 128-bit collision), and no byte of free text reaches a
    /// log or a monitor.
    ///
    /// # Errors
    /// [`KeyError`] when a value is missing, empty, or looks like personal data or a secret.
    pub fn key(&self, params: &[(&str, &str)]) -> Result<Key, KeyError> {
        let mut text = String::with_capacity(self.text.len() + 24);
        text.push_str(&self.prefix);
        for part in &self.segments {
            text.push(':');
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Placeholder { name, hash } => {
                    let value = params.iter().find(|(given, _)| given == name);
                    let (_, value) = value.ok_or_else(|| KeyError::Missing(name.clone()))?;
                    push_value(&mut text, name, value, *hash)?;
                }
            }
        }
        Key::from_built(text)
    }

    /// The name shared by all variants of one id, `v1:catalog:text:42:*`: what a row change can name
    /// when the key also has parts that the row does not know.
    pub(crate) fn family(&self, params: &[(&str, &str)]) -> Result<String, KeyError> {
        let mut text = self.prefix.clone();
        for part in &self.segments {
            text.push(':');
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Placeholder { name, hash } => {
                    match params.iter().find(|(given, _)| given == name) {
                        Some((_, value)) => push_value(&mut text, name, value, *hash)?,
                        None => text.push('*'),
                    }
                }
            }
        }
        Ok(text)
    }

    /// What all keys are like: `v1:catalog:price:*`.
    ///
    /// # Errors
    /// It has more placeholders than a pattern may have stars.
    pub fn pattern(&self) -> Result<Pattern, PatternError> {
        let mut text = self.prefix.clone();
        for part in &self.segments {
            text.push(':');
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Placeholder { .. } => text.push('*'),
            }
        }
        Pattern::of_keys(&text)
    }

    /// Whether some parameters of `self` and some of `other` give the same key.
    pub fn clashes_with(&self, other: &Self) -> bool {
        self.prefix == other.prefix
            && self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|pair| match pair {
                (Part::Literal(a), Part::Literal(b)) => a == b,
                (Part::Placeholder { .. }, Part::Placeholder { .. }) => true,
                (Part::Literal(fixed), Part::Placeholder { hash, .. })
                | (Part::Placeholder { hash, .. }, Part::Literal(fixed)) => {
                    fixed.starts_with("h-") || !hash
                }
            })
    }
}

fn segment(text: &str) -> Result<Part, TemplateError> {
    let parts = parts(text).map_err(TemplateError::Placeholder)?;
    match <[Part; 1]>::try_from(parts) {
        Ok([Part::Literal(fixed)]) if !fixed.bytes().all(is_unreserved) => {
            Err(TemplateError::Segment(text.to_owned()))
        }
        Ok([part]) => Ok(part),
        Err(_) => Err(TemplateError::Segment(text.to_owned())),
    }
}

fn push_value(out: &mut String, name: &str, value: &str, hash: bool) -> Result<(), KeyError> {
    if value.is_empty() {
        return Err(KeyError::Empty(name.to_owned()));
    }
    if let Some(kind) = lookalike::find(value) {
        return Err(KeyError::LooksLike { placeholder: name.to_owned(), kind });
    }
    // A plain value that starts like a hash is hashed itself, or it could pose as one.
    let plain = value.len() <= MAX_VERBATIM_BYTES
        && value.bytes().all(is_unreserved)
        && !value.starts_with("h-");
    if plain && !hash {
        out.push_str(value);
    } else {
        out.push_str(&hashed(value));
    }
    Ok(())
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
