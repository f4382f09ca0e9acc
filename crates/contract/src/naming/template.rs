//! Key templates.

use std::fmt;

use thiserror::Error;

use crate::naming::digest::hash_text;
use crate::naming::key::{Key, KeyError};
use crate::naming::pattern::{Pattern, PatternError};
use crate::naming::percent::is_unreserved;
use crate::naming::placeholder::{Part, column_of_row, parse_parts};
use crate::naming::sensitive_value;
use crate::naming::syntax::{is_entity, is_service, is_version};

/// Values of up to this many bytes may stand in a key unchanged; longer ones are hashed.
const MAX_VERBATIM_BYTES: usize = 64;

/// The maximum length of a template. Half of [`Key::MAX_BYTES`], so that values have room.
const MAX_TEMPLATE_BYTES: usize = 256;

/// The template of a contract's keys: `v1:catalog:price:{id}`.
///
/// The form is `v{n}:{service}:{entity}:{id}[:{variant}…]`. After the entity, every segment is either
/// fixed text or exactly one placeholder. So different parameters give different keys, and whether
/// two templates can make the same key is decidable.
///
/// There are three kinds of placeholder: `{id}` (required, once), `{tenant}` (a column of the row, as
/// the id) and variants (any other name, such as `{locale}`, which the reader gives and the row does
/// not contain).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyTemplate {
    text: String,
    /// `v1:catalog:price`.
    prefix: String,
    segments: Vec<Part>,
}

/// Text that is not a key template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// There are fewer than four segments.
    #[error("it has {0} of the four parts `v{{n}}:{{service}}:{{entity}}:{{id}}`")]
    Segments(usize),
    /// The first segment is not a version.
    #[error("it starts with `{0}`; the first part is the version, `v1`, `v2`, …")]
    Version(String),
    /// The service name is malformed.
    #[error(
        "`{0}` is not a service name: use lower-case letters, digits and `-`, and start with a letter"
    )]
    Service(String),
    /// The entity name is malformed.
    #[error(
        "`{0}` is not an entity name: use lower-case letters, digits, `-` and `_`, and start with a letter"
    )]
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
    #[error("it has no `{{id}}`, so all entries would have the same key")]
    NoId,
    /// The template is too long.
    #[error("it has {0} bytes; the maximum is 256, which leaves room for values")]
    TooLong(usize),
}

impl KeyTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError`], which names the first malformed part.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError::TooLong(text.len()));
        }
        let all: Vec<&str> = text.split(':').collect();
        let [version, service, entity, rest @ ..] = all.as_slice() else {
            return Err(TemplateError::Segments(all.len()));
        };
        if rest.is_empty() {
            return Err(TemplateError::Segments(all.len()));
        }
        if !is_version(version) {
            return Err(TemplateError::Version((*version).to_owned()));
        }
        if !is_service(service) {
            return Err(TemplateError::Service((*service).to_owned()));
        }
        if !is_entity(entity) {
            return Err(TemplateError::Entity((*entity).to_owned()));
        }
        let segments =
            rest.iter().map(|part| parse_segment(part)).collect::<Result<Vec<_>, _>>()?;
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

    /// Returns the template's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the fixed prefix of every key: `v1:catalog:price`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the placeholders in order.
    pub fn placeholders(&self) -> Vec<&str> {
        self.segments
            .iter()
            .filter_map(|part| match part {
                Part::Placeholder { name, .. } => Some(name.as_str()),
                Part::Literal(_) => None,
            })
            .collect()
    }

    /// Returns the placeholders that are not columns of the row: all except `id` and `tenant`.
    pub fn variants(&self) -> Vec<&str> {
        let mut names = self.placeholders();
        names.retain(|name| !matches!(*name, "id" | "tenant"));
        names
    }

    /// Returns whether the key has [variants](Self::variants).
    pub fn has_variants(&self) -> bool {
        self.segments.iter().any(|part| {
            matches!(part, Part::Placeholder { name, .. } if !matches!(name.as_str(), "id" | "tenant"))
        })
    }

    /// Returns whether the key contains `{tenant}`.
    pub fn has_tenant(&self) -> bool {
        self.placeholders().contains(&"tenant")
    }

    /// Returns whether the placeholder is always written as a hash (`{query|hash}`).
    pub fn is_hashed(&self, placeholder: &str) -> bool {
        self.segments.iter().any(
            |part| matches!(part, Part::Placeholder { name, hash: true } if name == placeholder),
        )
    }

    /// Returns whether `key` has the form of this template's keys.
    pub fn matches(&self, key: &Key) -> bool {
        let Some(rest) = key.as_str().strip_prefix(&self.prefix) else { return false };
        let mut values = rest.split(':');
        // Text before the first `:` would belong to a longer entity name.
        values.next() == Some("")
            && self.segments.iter().all(|part| match (part, values.next()) {
                (Part::Literal(fixed), Some(value)) => fixed == value,
                (Part::Placeholder { .. }, value) => value.is_some(),
                (Part::Literal(_), None) => false,
            })
            && values.next().is_none()
    }

    /// Makes the key for `params`, pairs of placeholder and value. Pairs without a placeholder are
    /// ignored.
    ///
    /// Values of up to 64 bytes of `A–Z a–z 0–9 . _ ~ -` are written unchanged. Every other value is
    /// free text and is written as `h-` and the first 128 bits of its SHA-256 in hex. So different
    /// values have different keys (except for a 128-bit collision), and no byte of free text reaches
    /// a log or a monitor.
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
        Key::from_checked(text)
    }

    /// Returns the name that all variants of one id share, `v1:catalog:text:42:*`. A row change uses it
    /// where the key has variants, since the row does not contain them.
    ///
    /// # Errors
    /// As [`KeyTemplate::key`], for the given values.
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

    /// Returns the pattern that matches all keys of this template: `v1:catalog:price:*`.
    ///
    /// # Errors
    /// The template has more placeholders than a pattern may have stars.
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

    /// Returns whether some parameters of `self` and some of `other` give the same key.
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

fn parse_segment(text: &str) -> Result<Part, TemplateError> {
    let parts = parse_parts(text).map_err(TemplateError::Placeholder)?;
    match <[Part; 1]>::try_from(parts) {
        Ok([Part::Literal(fixed)]) if !fixed.bytes().all(is_unreserved) => {
            Err(TemplateError::Segment(text.to_owned()))
        }
        // The columns of a key are those of `from`.
        Ok([Part::Placeholder { name, .. }]) if column_of_row(&name).is_some() => {
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
    if let Some(kind) = sensitive_value::detect(value) {
        return Err(KeyError::Sensitive { placeholder: name.to_owned(), kind });
    }
    // A plain value that starts like a hash is hashed too; otherwise it could collide with a hash.
    let plain = value.len() <= MAX_VERBATIM_BYTES
        && value.bytes().all(is_unreserved)
        && !value.starts_with("h-");
    if plain && !hash {
        out.push_str(value);
    } else {
        out.push_str(&hash_text(value));
    }
    Ok(())
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
