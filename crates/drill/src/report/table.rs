//! Formatting of table rows and figures.

use std::fmt;

/// Width of the row labels.
pub(super) const LABEL: usize = 34;
/// Width of one target's column.
pub(super) const COLUMN: usize = 18;

pub(super) fn row(
    out: &mut fmt::Formatter<'_>,
    label: &str,
    cells: impl Iterator<Item = String>,
) -> fmt::Result {
    write!(out, "{label:<LABEL$}")?;
    for cell in cells {
        write!(out, "{cell:>COLUMN$}")?;
    }
    writeln!(out)
}

/// Formats milliseconds; from ten seconds on, as seconds.
pub(crate) fn milliseconds(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.1} s", value / 1000.0)
    } else if value >= 100.0 {
        format!("{value:.0} ms")
    } else {
        format!("{value:.2} ms")
    }
}

/// Formats `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_formatted_for_reading() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(milliseconds(0.4567), "0.46 ms");
        assert_eq!(milliseconds(12_345.0), "12.3 s");
    }
}
