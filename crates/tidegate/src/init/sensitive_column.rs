//! Columns that look as if they hold personal data or secrets. A proposal must not publish them.

/// The words in names of such columns.
const WORDS: [&str; 29] = [
    "address",
    "birth",
    "birthday",
    "birthdate",
    "card",
    "cvc",
    "cvv",
    "dob",
    "email",
    "fax",
    "hash",
    "iban",
    "ip",
    "mail",
    "mobile",
    "otp",
    "passphrase",
    "passport",
    "passwd",
    "password",
    "phone",
    "pin",
    "salt",
    "secret",
    "ssn",
    "street",
    "tax",
    "token",
    "zip",
];

/// Returns whether a column's name has one of the words: `user_email`, `passwordHash`.
pub(super) fn looks_sensitive(column: &str) -> bool {
    words(column).iter().any(|word| {
        let singular = word.strip_suffix('s').unwrap_or(word);
        WORDS.contains(&word.as_str()) || WORDS.contains(&singular)
    })
}

/// Splits a name at characters that are no letters, and before capitals.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        was_lower = c.is_lowercase();
        if c.is_alphabetic()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensitive_names_found() {
        for name in ["email", "user_email", "passwordHash", "api_tokens", "Street", "phone2"] {
            assert!(looks_sensitive(name), "{name}");
        }
        for name in ["id", "name", "price_cents", "description", "shipping", "hashtags_count"] {
            assert!(!looks_sensitive(name), "{name}");
        }
    }
}
