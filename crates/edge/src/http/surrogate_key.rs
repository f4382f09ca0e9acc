//! `Surrogate-Key`: the tags that an upstream or a service gives its responses.

use std::collections::HashSet;

use contract::Tag;
use http::{HeaderMap, HeaderName};

pub(crate) const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// A `Surrogate-Key` is malformed or has too many tags. Without its tags the response could never
/// be purged, so it is not stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct InvalidTags;

/// Parses the tags of a response, without duplicates.
///
/// # Errors
/// [`InvalidTags`] where a tag is malformed, or there are more than `max`.
pub(crate) fn tags(headers: &HeaderMap, max: usize) -> Result<Vec<Tag>, InvalidTags> {
    let (mut tags, mut known) = (Vec::new(), HashSet::new());
    for field in headers.get_all(SURROGATE_KEY) {
        let field = field.to_str().map_err(|_| InvalidTags)?;
        for tag in field.split_ascii_whitespace() {
            let tag = Tag::parse(tag).map_err(|_| InvalidTags)?;
            if known.insert(tag.clone()) {
                tags.push(tag);
            }
            if tags.len() > max {
                return Err(InvalidTags);
            }
        }
    }
    Ok(tags)
}
