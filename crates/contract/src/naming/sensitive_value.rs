//! Detection of values that look like personal data or a secret, which keys must not contain.
//!
//! Keys appear in logs, monitors, slow-query lists and support tickets. The checks prefer false
//! negatives: a refused id can't be cached at all, so each check requires a shape that ids in shops
//! rarely have. Each check documents its accepted false positives.

use std::fmt;

use crate::naming::syntax::is_uuid;

/// A kind of personal data or secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SensitiveValue {
    /// `someone@example.org`, anywhere in the value.
    Email,
    /// `+49 151 23456789`, `(555) 123-4567`.
    Phone,
    /// A payment-card number: issuer's range, length and Luhn check digit.
    Card,
    /// A bearer token, JWT or API key.
    Token,
}

impl fmt::Display for SensitiveValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SensitiveValue::Email => "an e-mail address",
            SensitiveValue::Phone => "a phone number",
            SensitiveValue::Card => "a payment-card number",
            SensitiveValue::Token => "an access token",
        })
    }
}

/// Returns the kind of sensitive data that `value` looks like, or `None`.
pub(crate) fn detect(value: &str) -> Option<SensitiveValue> {
    // Fast path: short numbers and words, the common ids, match none of the checks below.
    if value.len() <= 12 && value.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    if is_uuid(value) {
        return None;
    }
    if is_token(value) {
        Some(SensitiveValue::Token)
    } else if has_email(value) {
        Some(SensitiveValue::Email)
    } else if has_card(value) {
        Some(SensitiveValue::Card)
    } else if is_phone(value) {
        Some(SensitiveValue::Phone)
    } else {
        None
    }
}

/// Returns whether the value contains `local@domain.tld`, also with the `@` percent-encoded.
///
/// Not detected: `@handle`, `sku@2x` (no dot after the `@`). False positive: `image@2x.png`.
fn has_email(value: &str) -> bool {
    if !value.contains('@') && !value.contains("%40") {
        return false;
    }
    let value = value.replace("%40", "@");
    value.match_indices('@').any(|(at, _)| {
        let local = value[..at].chars().next_back();
        let domain: &str = value[at + 1..]
            .split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-')))
            .next()
            .unwrap_or_default();
        let dot = domain.rfind('.');
        local.is_some_and(|c| c.is_alphanumeric() || "._%+-!#$&'*/=?^`{|}~\"".contains(c))
            && dot.is_some_and(|dot| dot > 0 && domain.len() - dot > 2)
    })
}

/// Returns whether the value contains a payment-card number: a separate word of digits, grouped or
/// not, with the prefix and length of a card issuer and a valid Luhn check digit.
///
/// Not detected: timestamps (they start with 1), most snowflake ids (17 to 19 digits), 13-digit numbers
/// that are valid EAN-13 barcodes (no issuer has issued 13 digits for decades). False positives: one
/// in ten of the ids that fall in an issuer's range, such as 16 digits that start with 4.
fn has_card(value: &str) -> bool {
    let bytes = value.as_bytes();
    let mut start = 0;
    while start < bytes.len() {
        if !bytes[start].is_ascii_digit() {
            start += 1;
            continue;
        }
        let mut end = start;
        let mut digits = Vec::with_capacity(19);
        while end < bytes.len()
            && (bytes[end].is_ascii_digit() || matches!(bytes[end], b' ' | b'-'))
        {
            if bytes[end].is_ascii_digit() {
                digits.push(bytes[end] - b'0');
            }
            end += 1;
        }
        let word = |at: Option<&u8>| at.is_none_or(|b| !b.is_ascii_alphanumeric());
        let alone = word(start.checked_sub(1).map(|at| &bytes[at])) && word(bytes.get(end));
        if alone && is_card(&digits) {
            return true;
        }
        start = end;
    }
    false
}

fn is_card(digits: &[u8]) -> bool {
    if !(13..=19).contains(&digits.len()) {
        return false;
    }
    let prefix = |count: usize| digits[..count].iter().fold(0_u32, |n, d| n * 10 + u32::from(*d));
    let issued = match digits.len() {
        13 => digits[0] == 4 && !weighted_sum(digits, 3).is_multiple_of(10),
        14 => matches!(prefix(2), 36 | 38 | 39) || matches!(prefix(3), 300..=305),
        15 => matches!(prefix(2), 34 | 37) || matches!(prefix(4), 2131 | 1800),
        16 => {
            matches!(prefix(2), 35 | 36 | 38 | 39 | 40..=49 | 50..=58 | 60..=69)
                || matches!(prefix(4), 2221..=2720)
        }
        // Only Maestro and UnionPay issue 17 and 18 digits.
        17 | 18 => prefix(2) == 62 || is_maestro(prefix(4)),
        _ => matches!(prefix(2), 40..=49 | 60 | 62 | 64 | 65) || is_maestro(prefix(4)),
    };
    issued && luhn(digits)
}

fn is_maestro(prefix: u32) -> bool {
    matches!(prefix, 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763)
}

/// Returns whether the Luhn check digit is valid (ISO/IEC 7812-1 annex B).
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match u32::from(*digit) * if at % 2 == 0 { 1 } else { 2 } {
            n if n > 9 => n - 9,
            n => n,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Returns the sum behind a GS1 check digit: every second digit from the right counts `weight` times.
fn weighted_sum(digits: &[u8], weight: u32) -> u32 {
    digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| u32::from(*digit) * if at % 2 == 0 { 1 } else { weight })
        .sum()
}

/// Returns whether the whole value is a phone number: international (`+` and 8 to 15 digits), with an
/// area code in parentheses, North American (`555-123-4567`), or national (a leading 0, grouped by
/// spaces or `/`).
///
/// Not detected: bare digits, since order numbers have the same shape, and dates. False positives:
/// article numbers grouped 3-3-4.
fn is_phone(value: &str) -> bool {
    let value = value.trim();
    let value = value.strip_prefix("tel:").unwrap_or(value);
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let body = value.strip_prefix('+').unwrap_or(value);
    if !(8..=15).contains(&digits)
        || !body.bytes().all(|b| b.is_ascii_digit() || b" -./()".contains(&b))
    {
        return false;
    }
    let groups: Vec<usize> = body.split(['-', '.', ' ']).map(str::len).collect();
    value.starts_with('+')
        || (body.starts_with('(') && body.contains(')'))
        || (groups == [3, 3, 4] && !body.contains(['(', ')', '/']))
        || (body.starts_with('0') && digits >= 9 && body.contains([' ', '/']))
}

/// Returns whether the value is an authorisation header, a JWT (three base64url parts, the first of
/// which is a JSON object), a private key, or starts with a well-known API key prefix.
///
/// Not detected: UUIDs, content hashes and other random-looking ids without such a prefix.
fn is_token(value: &str) -> bool {
    const SCHEMES: [&str; 3] = ["bearer", "basic", "token"];
    const PREFIXES: [&str; 18] = [
        "sk_live_",
        "sk_test_",
        "rk_live_",
        "rk_test_",
        "whsec_",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "xoxb-",
        "xoxp-",
        "xapp-",
        "AIza",
        "SG.",
        "npm_",
    ];
    let mut words = value.split_ascii_whitespace();
    let scheme = words.next().unwrap_or_default();
    // "basic t-shirts" is a search; in a header, one long word follows the scheme.
    let header = SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
        && words.next().is_some_and(|word| word.len() >= 16)
        && words.next().is_none();
    let after = value.strip_prefix("AKIA").or_else(|| value.strip_prefix("ASIA"));
    let aws = after.is_some_and(|rest| {
        rest.len() == 16 && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    });
    let mut parts = value.split('.');
    let base64url = |part: &str| {
        part.len() >= 8 && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b))
    };
    let jwt =
        value.starts_with("eyJ") && parts.by_ref().take(2).filter(|p| base64url(p)).count() == 2;
    jwt || aws
        || value.contains("-----BEGIN")
        || header
        || PREFIXES
            .iter()
            .any(|prefix| value.starts_with(prefix) && value.len() >= prefix.len() + 16)
}
