//! The syntax of values that several sections have.

use contract::config::ValueError;

/// Parses the name of a database object: 1 to 63 of a-z, 0-9 and _.
///
/// # Errors
/// The text is another.
pub(super) fn identifier(text: &str) -> Result<String, ValueError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !text.is_empty() && text.len() <= 63 && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(ValueError::wrong_value(format!("`{text}` is not a name"), "use 1 to 63 of a-z, 0-9 and _"))
}
