//! Sizes such as `256MiB`.

/// Parses a size with a unit, at least 1 MiB: `B`, `kB`, `MB`, `GB` (powers of 1000), `KiB`, `MiB`, `GiB` (of
/// 1024).
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.trim().find(|c: char| !c.is_ascii_digit()).unwrap_or(text.trim().len());
    let (number, unit) = text.trim().split_at(digits);
    let scale: Option<u64> = match unit.trim() {
        "B" => Some(1),
        "kB" => Some(1_000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = scale.and_then(|scale| number.parse::<u64>().ok()?.checked_mul(scale));
    match bytes {
        Some(bytes) if bytes >= 1 << 20 => Ok(bytes),
        Some(bytes) => Err(format!("{text:?} is {bytes} bytes; the minimum is 1MiB")),
        None => Err(format!(
            "{text:?} is not a size: write a number and B, kB, MB, GB, KiB, MiB or GiB, such as \"256MiB\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn size_parsed_with_unit() {
        assert_eq!(parse("256MiB"), Ok(256 << 20));
        assert_eq!(parse("2 GB"), Ok(2_000_000_000));
        for bad in ["", "5", "MiB", "1kB", "-1MiB", "1.5GiB", "99999999999GiB", "12 parsecs"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
