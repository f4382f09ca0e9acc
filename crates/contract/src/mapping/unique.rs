//! Lists without duplicates.

/// Adds the items that are not in the list. The lists have a few items; a set would cost more than it saves.
pub(crate) fn add<T: PartialEq>(list: &mut Vec<T>, items: impl IntoIterator<Item = T>) {
    for item in items {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}
