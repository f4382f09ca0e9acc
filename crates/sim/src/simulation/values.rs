//! Values that carry the versions of their cells.

use std::time::Duration;

use cache::Content;

/// Returns the text of a value: the versions in it.
pub(super) fn encode(versions: [u64; 3]) -> String {
    let [row, group, all] = versions;
    match group == row && all == row {
        // As the projection of the row writes it.
        true => format!(r#"{{"version":{row}}}"#),
        false => format!(r#"{{"version":{row},"group":{group},"all":{all}}}"#),
    }
}

/// Parses the versions in a value; `None` if the row is absent.
pub(super) fn versions(content: &Content) -> Option<[u64; 3]> {
    let Content::Present(value) = content else { return None };
    let text = std::str::from_utf8(&value.body).unwrap_or_default();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    let mut next = || numbers.next()?.parse().ok();
    let row = next().unwrap_or(u64::MAX);
    Some([row, next().unwrap_or(row), next().unwrap_or(row)])
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
