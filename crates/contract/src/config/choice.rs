//! Choices: one of a few known words.

use crate::config::problem::ValueError;
use crate::config::suggestion::nearest_name;

/// Returns the value of the option named `text`. Names are compared exactly.
///
/// # Errors
/// `text` names no option; the error lists all of them and suggests the nearest.
pub fn parse_choice<T: Copy>(text: &str, options: &[(&str, T)]) -> Result<T, ValueError> {
    if let Some((_, value)) = options.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
    let help = match nearest_name(text, names.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"? The values are: {}", names.join(", ")),
        None => format!("use one of: {}", names.join(", ")),
    };
    Err(ValueError::wrong_value(format!("`{text}` is not a known value"), help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_choice_names_nearest() {
        let options = [("on", true), ("off", false)];
        assert_eq!(parse_choice("off", &options), Ok(false));
        let err = parse_choice("Off", &options).expect_err("another case").to_string();
        assert_eq!(
            err,
            "`Off` is not a known value; did you mean \"off\"? The values are: on, off"
        );
        let err = parse_choice("auto", &options).expect_err("unknown").to_string();
        assert_eq!(err, "`auto` is not a known value; use one of: on, off");
    }
}
