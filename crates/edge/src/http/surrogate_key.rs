//! `Surrogate-Key`: the tags that an upstream or a service gives its responses.

use std::collections::HashSet;

use contract::Tag;
use http::{HeaderMap, HeaderName};

pub(crate) const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// A `Surrogate-Key` is malformed or has too many tags. Without its tags the response could never
/// be purged, so it is not stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct InvalidTags;

/// Between the tags of other headers of this kind. In a tag they may also be part of a value.
const LIST_SIGNS: [char; 2] = [',', ';'];

/// Parses the tags of a response, without duplicates. A tag with a comma or semicolon may be a list, as some
/// applications write it, or a tag with that sign in a value: the response gets it as it stands and its parts, so that
/// it is invalidated by either, and is proven only if the log raises all of them.
///
/// # Errors
/// [`InvalidTags`] where a tag is malformed, or there are more than `max`; those that a list is read as count, the list
/// itself does not.
pub(crate) fn tags(headers: &HeaderMap, max: usize) -> Result<Vec<Tag>, InvalidTags> {
    let (mut tags, mut known, mut lists) = (Vec::new(), HashSet::new(), 0);
    for field in headers.get_all(SURROGATE_KEY) {
        let field = field.to_str().map_err(|_| InvalidTags)?;
        for text in field.split_ascii_whitespace() {
            let parts = text.split(LIST_SIGNS).filter(|part| !part.is_empty() && *part != text);
            let is_list = parts.clone().next().is_some();
            for tag in std::iter::once(text).chain(parts) {
                let tag = Tag::parse(tag).map_err(|_| InvalidTags)?;
                if known.insert(tag.clone()) {
                    lists += usize::from(is_list && tag.as_str() == text);
                    tags.push(tag);
                }
                if tags.len() - lists > max {
                    return Err(InvalidTags);
                }
            }
        }
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_read_both_ways() {
        let read = |field: &'static str| {
            let headers = HeaderMap::from_iter([(SURROGATE_KEY, field.parse().expect("a value"))]);
            let tags = tags(&headers, 3)?;
            Ok(tags.iter().map(|tag| tag.as_str().to_owned()).collect::<Vec<_>>())
        };
        for (field, expected) in [
            ("a-1  a-2", vec!["a-1", "a-2"]),
            ("a-1, a-2", vec!["a-1,", "a-1", "a-2"]),
            ("a-1,a-2;", vec!["a-1,a-2;", "a-1", "a-2"]),
            (",", vec![","]),
        ] {
            assert_eq!(
                read(field),
                Ok(expected.into_iter().map(str::to_owned).collect()),
                "{field}"
            );
        }
        assert!(read("a, b, c").is_ok(), "a list does not count");
        assert_eq!(read("a,b c,d"), Err(InvalidTags), "its parts count");
    }
}
