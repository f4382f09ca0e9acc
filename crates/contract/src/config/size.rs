//! Sizes in bytes, such as `64KiB`.

use std::ops::RangeInclusive;

use toml::Value;

use crate::config::problem::{ValueError, describe_value};

/// The units with their factors, in lower case; the larger ones first.
const UNITS: [(&str, u64); 7] = [
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("b", 1),
];

/// Parses a size in bytes: a whole number and a unit, with or without spaces around them.
///
/// Units, in any case: `B`, `kB`, `MB`, `GB` (powers of 1000), `KiB`, `MiB`, `GiB` (powers of 1024). A
/// number without a unit is in bytes.
///
/// # Errors
/// `text` is not a size, or the size is outside `range`.
pub fn parse_size(text: &str, range: RangeInclusive<u64>) -> Result<u64, ValueError> {
    let bytes = read(text);
    check(bytes, &range, || format!("`{text}`"))
}

/// Returns the size of a TOML value: text as for [`parse_size`], or a whole number of bytes.
///
/// # Errors
/// As [`parse_size`], and for a value of another type.
pub fn size_from_value(value: &Value, range: RangeInclusive<u64>) -> Result<u64, ValueError> {
    match value {
        Value::Integer(bytes) => {
            check(u64::try_from(*bytes).ok(), &range, || describe_value(value))
        }
        Value::String(text) => parse_size(text, range),
        other => Err(ValueError::wrong_type(other, help(&range))),
    }
}

/// Formats a size with the largest unit that divides it, such as `64KiB`.
pub fn format_size(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

fn read(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim();
    if unit.is_empty() {
        return Some(number);
    }
    let (_, factor) = UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
    number.checked_mul(*factor)
}

fn check(
    bytes: Option<u64>,
    range: &RangeInclusive<u64>,
    shown: impl Fn() -> String,
) -> Result<u64, ValueError> {
    let message = match bytes {
        Some(bytes) if range.contains(&bytes) => return Ok(bytes),
        Some(_) => format!("{} is out of range", shown()),
        None => format!("{} is not a size", shown()),
    };
    Err(ValueError::wrong_value(message, help(range)))
}

fn help(range: &RangeInclusive<u64>) -> String {
    let least = format_size(*range.start());
    let range = match *range.end() {
        u64::MAX => format!("at least {least}"),
        most => format!("from {least} to {}", format_size(most)),
    };
    format!(
        "write a number and a unit (B, kB, MB, GB, KiB, MiB, GiB), such as \"64KiB\", or a number of \
         bytes, {range}"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANY: RangeInclusive<u64> = 0..=u64::MAX;

    #[test]
    fn size_accepts_units_in_any_case() {
        for (text, bytes) in [
            ("256MiB", 256 << 20),
            ("256mib", 256 << 20),
            ("256MIB", 256 << 20),
            ("2 GB", 2_000_000_000),
            (" 64 KiB ", 64 << 10),
            ("1kb", 1_000),
            ("7B", 7),
            ("512", 512),
        ] {
            assert_eq!(parse_size(text, ANY), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1MiB", "1.5GiB", "99999999999GiB", "12 parsecs", "1 K", "1 2"] {
            assert!(parse_size(text, ANY).is_err(), "{text}");
        }
    }

    #[test]
    fn size_error_names_form_and_range() {
        let err = parse_size("1kB", 1 << 20..=u64::MAX).expect_err("too small").at("local.memory");
        assert_eq!(
            err.to_string(),
            "local.memory: `1kB` is out of range; write a number and a unit (B, kB, MB, GB, KiB, MiB, \
             GiB), such as \"64KiB\", or a number of bytes, at least 1MiB"
        );
        let err = size_from_value(&Value::Boolean(true), 1..=1_500).expect_err("no size");
        assert!(err.to_string().starts_with("is true; write a number and a unit"), "{err}");
        assert!(err.to_string().ends_with("from 1B to 1500B"), "{err}");
        assert_eq!(size_from_value(&Value::Integer(7), ANY), Ok(7));
        let err = size_from_value(&Value::Integer(-1), ANY).expect_err("negative");
        assert!(err.message.contains("the number -1 is not a size"), "{err}");
    }

    proptest! {
        #[test]
        fn formatted_size_parses_back(bytes in any::<u64>(), shift in 0_u32..40) {
            for bytes in [bytes, bytes >> shift << shift] {
                prop_assert_eq!(parse_size(&format_size(bytes), ANY), Ok(bytes));
            }
        }

        #[test]
        fn size_unit_case_is_ignored(number in 0_u64..1 << 30, at in 0..UNITS.len(), upper in any::<u8>()) {
            let (unit, factor) = UNITS[at];
            let flip = |(at, c): (usize, char)| {
                if upper >> at & 1 == 1 { c.to_ascii_uppercase() } else { c }
            };
            let unit: String = unit.chars().enumerate().map(flip).collect();
            prop_assert_eq!(parse_size(&format!("{number} {unit}"), ANY), Ok(number * factor));
        }

        #[test]
        fn any_text_is_size_or_error(text in any::<String>()) {
            if let Ok(bytes) = parse_size(&text, 1..=1 << 40) {
                prop_assert!((1..=1 << 40).contains(&bytes));
            }
        }
    }
}
