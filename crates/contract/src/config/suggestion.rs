//! "Did you mean": the known name that is nearest to a misspelt one.

/// Returns the known name that `name` probably means, or `None` where none is near.
///
/// The distance is Damerau-Levenshtein, without regard to case. A known name is near when it differs by
/// at most a third of its length plus one, and in at least one character not at all. Of several the
/// first wins.
pub fn nearest_name<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&name, &known.to_lowercase()), known))
        .filter(|(distance, known)| {
            *distance <= (known.len() / 3).max(1) + 1 && *distance < known.len().max(name.len())
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_suggested() {
        let keys = ["gateway", "data", "admin", "id"];
        assert_eq!(nearest_name("gatway", keys), Some("gateway"));
        assert_eq!(nearest_name("GATEWAY", keys), Some("gateway"));
        assert_eq!(nearest_name("admni", keys), Some("admin"));
        assert_eq!(nearest_name("zebra", keys), None);
        assert_eq!(nearest_name("zz", keys), None, "no letter in common");
    }
}
