//! The syntax of values that several sections have.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::time::Duration;

use contract::config::{TableReader, ValueError};
use contract::is_region;

/// The range of time limits: more than zero, at most a day.
pub(super) const TIME_LIMITS: RangeInclusive<Duration> =
    Duration::from_nanos(1)..=Duration::from_secs(24 * 3600);

/// Parses the name of a database object: 1 to 63 of a-z, 0-9 and _.
///
/// # Errors
/// The text is another.
pub(super) fn identifier(text: &str) -> Result<String, ValueError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !text.is_empty() && text.len() <= 63 && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(wrong_value(format!("`{text}` is not a name"), "use 1 to 63 of a-z, 0-9 and _"))
}

/// Parses the name of a region.
///
/// # Errors
/// The text is not such a name.
pub(super) fn region(text: &str) -> Result<String, ValueError> {
    if is_region(text) {
        return Ok(text.to_owned());
    }
    let help = "use 1 to 64 of a-z, 0-9 and -, such as \"eu-west\"";
    Err(wrong_value(format!("`{text}` is not a region"), help))
}

/// Returns the items of a list of texts that `parse` accepts, each with its key, such as `peers[0]`. A
/// problem shows no more of a text than the error of `parse`: the way to read addresses with passwords.
pub(super) fn list_with<T>(
    table: &mut TableReader<'_>,
    key: &str,
    parse: impl Fn(&str) -> Result<T, ValueError>,
) -> Vec<(String, T)> {
    let texts = table.list(key, "", |text| Ok::<_, Infallible>(text.to_owned()));
    let mut items = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let key = format!("{key}[{at}]");
        match parse(text) {
            Ok(item) => items.push((key, item)),
            Err(err) => table.problem(err.rule, &key, err.message, err.help),
        }
    }
    items
}

/// Returns the error about a value that is not accepted.
pub(super) fn wrong_value(message: impl Into<String>, help: impl Into<String>) -> ValueError {
    ValueError { rule: "wrong-value", message: message.into(), help: help.into() }
}
