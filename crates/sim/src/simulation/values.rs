//! Values that carry the versions of their cells.

use std::time::Duration;

use cache::Content;

/// Returns the text of a value: the versions in it.
pub(super) fn encode(versions: [u64; 3]) -> String {
    format!("{versions:?}")
}

/// Parses the versions in a value; `None` if the row is absent.
pub(super) fn versions(content: &Content) -> Option<[u64; 3]> {
    let Content::Present(value) = content else { return None };
    let text = std::str::from_utf8(&value.body).unwrap_or_default();
    let mut versions = [u64::MAX; 3];
    let parts = text.trim_matches(['[', ']']).split(", ");
    for (version, part) in versions.iter_mut().zip(parts) {
        *version = part.parse().unwrap_or(u64::MAX);
    }
    Some(versions)
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
