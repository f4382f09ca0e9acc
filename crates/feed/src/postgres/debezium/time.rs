//! Dates and times in the text of PostgreSQL (`datestyle` ISO, in UTC).

use crate::debezium::date;

const DAY_US: i64 = 86_400_000_000;

/// Formats µs since midnight as `HH:MM:SS.ffffff`, without trailing zeros.
pub(super) fn time_of_day(us: i64) -> Option<String> {
    if !(0..DAY_US).contains(&us) {
        return None;
    }
    let (seconds, fraction) = (us / 1_000_000, us % 1_000_000);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    Some(with_fraction(
        format!("{hours:02}:{minutes:02}:{:02}", seconds % 60),
        &format!("{fraction:06}"),
    ))
}

/// Formats µs since 1970-01-01 as `YYYY-MM-DD HH:MM:SS.ffffff`, without trailing zeros.
pub(super) fn timestamp(us: i64) -> Option<String> {
    let date = date(us.div_euclid(DAY_US)).filter(|date| is_recent(date))?;
    Some(format!("{date} {}", time_of_day(us.rem_euclid(DAY_US))?))
}

/// Debezium shifts earlier timestamps: by the Julian calendar, or by the local time before time zones.
fn is_recent(date: &str) -> bool {
    date >= "1900"
}

/// Converts `YYYY-MM-DDTHH:MM:SS.ffffffZ`.
pub(super) fn with_zone(text: &str) -> Option<String> {
    let (whole, fraction) = match text.strip_suffix('Z')?.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (text.strip_suffix('Z')?, ""),
    };
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let has_form = whole.len() == 19
        && whole.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            _ => is_digit(byte),
        });
    // The database has no more digits.
    let is_fraction = fraction.bytes().all(is_digit) && fraction.trim_end_matches('0').len() <= 6;
    if !has_form || !is_fraction || !is_recent(whole) {
        return None;
    }
    Some(with_fraction(whole.replace('T', " "), fraction) + "+00")
}

fn with_fraction(whole: String, digits: &str) -> String {
    match digits.trim_end_matches('0') {
        "" => whole,
        digits => format!("{whole}.{digits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_match_database_text() {
        for (us, shown) in [
            (0, Some("00:00:00")),
            (86_399_999_999, Some("23:59:59.999999")),
            (3_661_500_000, Some("01:01:01.5")),
            (86_400_000_000, None),
            (-1, None),
        ] {
            assert_eq!(time_of_day(us).as_deref(), shown, "{us}");
        }
        for (us, shown) in [
            (0, Some("1970-01-01 00:00:00")),
            (-1, Some("1969-12-31 23:59:59.999999")),
            (1_767_261_600_120_000, Some("2026-01-01 10:00:00.12")),
            (-2_208_988_800_000_000, Some("1900-01-01 00:00:00")),
            (-2_208_988_800_000_001, None),
            // Debezium's infinity.
            (9_223_372_036_825_200_000, None),
            (i64::MIN, None),
        ] {
            assert_eq!(timestamp(us).as_deref(), shown, "{us}");
        }
        for (text, shown) in [
            ("2026-01-01T10:00:00Z", Some("2026-01-01 10:00:00+00")),
            ("2026-01-01T10:00:00.120Z", Some("2026-01-01 10:00:00.12+00")),
            ("2026-01-01T10:00:00.1234567Z", None),
            ("2026-01-01T10:00:00+01:00", None),
            ("2026-01-01T10:00Z", None),
            ("2026-01-01T10:00:00.Z", Some("2026-01-01 10:00:00+00")),
            ("0001-01-01T00:00:00Z", None),
            ("+12026-01-01T10:00:00Z", None),
            ("infinity", None),
        ] {
            assert_eq!(with_zone(text).as_deref(), shown, "{text}");
        }
    }
}
