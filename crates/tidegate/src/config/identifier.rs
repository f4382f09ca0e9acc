//! Names of slots and publications.

/// Checks a name of a database object: 1 to 63 of a-z, 0-9 and _. `name`: the key, for the error.
pub(super) fn check(name: &str, text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !text.is_empty() && text.len() <= 63 && text.chars().all(plain) {
        return Ok(());
    }
    Err(format!("{name} = {text:?}: use 1 to 63 of a-z, 0-9 and _"))
}
