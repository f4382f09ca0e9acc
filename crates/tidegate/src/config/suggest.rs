//! Suggestions for misspelt keys.

/// Returns `; did you mean …?`, or nothing where no known name is near.
pub(super) fn nearest(name: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .min();
    near.map(|(_, known)| format!("; did you mean {known:?}?")).unwrap_or_default()
}

/// Returns the suggestion for serde's message about an unknown field, which lists the known ones.
pub(super) fn for_message(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    let (name, known) = rest.split_once('`')?;
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let near = nearest(name, &known);
    (!near.is_empty()).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_key_suggested() {
        let message = "unknown field `gatway`, expected one of `gateway`, `data`, `admin`";
        assert_eq!(for_message(message).as_deref(), Some("; did you mean \"gateway\"?"));
        assert_eq!(for_message("unknown field `zebra`, expected `data`"), None);
        assert_eq!(for_message("invalid type"), None);
    }
}
