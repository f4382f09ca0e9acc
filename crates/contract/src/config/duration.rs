//! Durations, such as `5min`.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Value;

use crate::config::problem::ValueError;

/// The longest duration that a configuration accepts: ten years. Longer ones are taken for mistakes.
pub const MAX_DURATION: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// The range of time limits: more than zero, at most a day.
pub const TIME_LIMITS: RangeInclusive<Duration> =
    Duration::from_nanos(1)..=Duration::from_secs(24 * 3600);

/// Parses a duration: one or more numbers with units, which are added up, such as `1h 30min`.
///
/// Units: `ns`, `us`, `ms`, `s`, `m`, `h`, `d`, `w`, `M` (a month of 30.44 days), `y` (a year of
/// 365.25 days), and longer names such as `sec`, `min`, `hours`, `days`, `weeks`. Units of two letters
/// and more may be in any case. Units of one letter may not, since `m` is a minute and `M` a month.
///
/// # Errors
/// `text` is not a duration, or the duration is outside `range`.
pub fn parse_duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, ValueError> {
    match humantime::parse_duration(&lower_case_units(text)) {
        Ok(duration) if range.contains(&duration) => Ok(duration),
        Ok(_) => Err(ValueError {
            rule: "out-of-range",
            message: format!("`{text}` is out of range"),
            help: help(&range),
        }),
        Err(err) => {
            let message = format!("`{text}` is not a duration: {err}");
            Err(ValueError::wrong_value(message, help(&range)))
        }
    }
}

/// Returns the duration of a TOML value, which is text as for [`parse_duration`].
///
/// # Errors
/// As [`parse_duration`], and for a value of another type: a number alone has no unit.
pub fn duration_from_value(
    value: &Value,
    range: RangeInclusive<Duration>,
) -> Result<Duration, ValueError> {
    match value {
        Value::String(text) => parse_duration(text, range),
        other => Err(ValueError::wrong_type(other, help(&range))),
    }
}

/// Formats a duration with units, such as `1h 30m`; [`parse_duration`] reads it back.
pub fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Converts units of two letters and more to lower case.
fn lower_case_units(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (unit, tail) = rest.split_at(letters);
        if unit.len() > 1 {
            out.push_str(&unit.to_ascii_lowercase());
        } else {
            out.push_str(unit);
        }
        let next = tail.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(tail.len());
        out.push_str(&tail[..next]);
        rest = &tail[next..];
    }
    out
}

fn help(range: &RangeInclusive<Duration>) -> String {
    let most = match *range.end() {
        MAX_DURATION => "10years".to_owned(),
        most => format_duration(most),
    };
    let range = if range.start().is_zero() {
        format!("at most {most}")
    } else if *range.start() == Duration::from_nanos(1) {
        format!("more than 0s and at most {most}")
    } else {
        format!("from {} to {most}", format_duration(*range.start()))
    };
    format!(
        "write a number and a unit, such as \"500ms\", \"30s\", \"5min\", \"24h\" or \"7days\", {range}"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANY: RangeInclusive<Duration> = Duration::ZERO..=Duration::MAX;

    #[test]
    fn duration_accepts_long_units_in_any_case() {
        let secs = Duration::from_secs;
        for (text, duration) in [
            ("500ms", Duration::from_millis(500)),
            ("500MS", Duration::from_millis(500)),
            ("30s", secs(30)),
            ("5Min", secs(300)),
            ("1h 30min", secs(5_400)),
            ("1h30m", secs(5_400)),
            ("7Days", secs(7 * 86_400)),
            ("1m", secs(60)),
            ("1M", secs(2_630_016)),
            ("0s", Duration::ZERO),
        ] {
            assert_eq!(parse_duration(text, ANY), Ok(duration), "{text}");
        }
        for text in ["", "5", "s", "-1s", "soon", "1H", "30S", "1 parsec"] {
            assert!(parse_duration(text, ANY).is_err(), "{text}");
        }
    }

    #[test]
    fn duration_error_names_form_and_range() {
        let most = Duration::from_secs(10);
        let err = parse_duration("11s", Duration::ZERO..=most).expect_err("too long").at("a.lag");
        assert_eq!(
            err.to_string(),
            "a.lag: `11s` is out of range; write a number and a unit, such as \"500ms\", \"30s\", \
             \"5min\", \"24h\" or \"7days\", at most 10s"
        );
        let range = Duration::from_nanos(1)..=MAX_DURATION;
        let err = parse_duration("0s", range).expect_err("zero").help;
        assert!(err.ends_with("more than 0s and at most 10years"), "{err}");
        let range = Duration::from_secs(60)..=Duration::from_secs(7 * 86_400);
        let err = duration_from_value(&Value::Integer(5), range).expect_err("no unit").to_string();
        assert!(err.starts_with("is the number 5; write"), "{err}");
        assert!(err.ends_with("from 1m to 7days"), "{err}");
    }

    proptest! {
        #[test]
        fn formatted_duration_parses_back(nanos in any::<u64>()) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration), ANY), Ok(duration));
        }

        /// The units' case changes nothing that was accepted before.
        #[test]
        fn humantime_durations_are_accepted(text in "[0-9]{1,4} ?(ns|us|ms|s|m|min|h|hours|d|days|w|M|y)( [0-9]{1,2}(s|min))?") {
            prop_assert_eq!(parse_duration(&text, ANY).ok(), humantime::parse_duration(&text).ok());
        }

        #[test]
        fn any_text_is_duration_or_error(text in "[0-9]{0,20} ?\\PC{0,8}") {
            if let Ok(duration) = parse_duration(&text, Duration::ZERO..=MAX_DURATION) {
                prop_assert!(duration <= MAX_DURATION);
            }
        }
    }
}
