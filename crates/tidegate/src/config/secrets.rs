//! Secrets in a configuration, which no error shows.
//!
//! A value may be anywhere in an error: a url that is the value of a misspelt key, a table's name, or the text that a
//! parser quotes. So every error is redacted where it is printed.

use contract::Problem;
use toml::Value;

/// Words in the names of keys whose values are secrets.
const SECRET_WORDS: [&str; 6] =
    ["password", "secret", "token", "passwd", "signing_key", "message_key"];

/// Shorter texts are part of other words.
const SHORTEST: usize = 4;

/// The text in place of a secret.
const HIDDEN: &str = "***";

/// The secrets of a configuration.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Finds the passwords of urls, the values of secret keys, and `others`.
    pub(super) fn of(root: &toml::Table, others: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<String> = others.into_iter().collect();
        for (key, value) in root {
            collect(key, value, &mut secrets);
        }
        // As a text is described in an error.
        let escaped: Vec<String> = secrets.iter().map(|it| it.escape_debug().to_string()).collect();
        secrets.extend(escaped);
        secrets.retain(|secret| secret.len() >= SHORTEST);
        // A longer one may contain a shorter one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self(secrets)
    }

    /// Returns the text without secrets.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut text = without_passwords(text);
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), HIDDEN);
            }
        }
        text
    }

    /// Returns the problem without secrets.
    pub(super) fn redact_problem(&self, problem: Problem) -> Problem {
        Problem {
            path: without_passwords(&problem.path),
            message: self.redact(&problem.message),
            help: self.redact(&problem.help),
            ..problem
        }
    }
}

fn collect(key: &str, value: &Value, secrets: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let key = key.to_ascii_lowercase();
            let is_secret = SECRET_WORDS.iter().any(|word| key.contains(word));
            if is_secret && !key.ends_with("_file") {
                secrets.push(text.clone());
            }
            secrets.extend(password_of(text).map(str::to_owned));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(key, item, secrets)),
        Value::Table(table) => table.iter().for_each(|(key, item)| collect(key, item, secrets)),
        _ => {}
    }
}

/// Returns the password of a url, also of a mistyped one, unless another part of it is the same word.
fn password_of(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (login, host) = rest.rsplit_once('@')?;
    let (user, password) = login.split_once(':')?;
    (password != user && !host.contains(password)).then_some(password)
}

/// Hides the login's password of every url in a text. The end of a url is not known, so everything up to the last `@`
/// before a space is its login.
pub(super) fn without_passwords(text: &str) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("://") {
        let (before, from) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = from.find(|c: char| c.is_whitespace()).unwrap_or(from.len());
        let url = &from[..end];
        rest = from;
        if let Some(at) = url.rfind('@') {
            if let Some((user, _)) = url[..at].split_once(':') {
                shown.push_str(user);
                shown.push(':');
                shown.push_str(HIDDEN);
            } else {
                shown.push_str(&url[..at]);
            }
            rest = &from[at..];
        }
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_hidden() {
        let text = "[source.shop]\nulr = \"postgres://u:hunter2@h/d\"\n\
                    [shared]\nsentinel_password = [\"hunter3\"]\nurl = \"redis://:shop@shop\"";
        let root: toml::Table = text.parse().expect("well-formed");
        let secrets = Secrets::of(&root, ["hunter4".to_owned()]);
        let shown = secrets.redact("hunter2 hunter3: hunter4, shop");
        assert_eq!(shown, "*** ***: ***, shop");
    }

    #[test]
    fn urls_without_passwords() {
        for (text, shown) in [
            (
                "a `postgres://u:p@h/d` and redis://:p@h, b@c",
                "a `postgres://u:***@h/d` and redis://:***@h, b@c",
            ),
            ("http://h:1/x a@b", "http://h:1/x a@b"),
            ("postgres://u:p@ss@h x", "postgres://u:***@h x"),
            ("redis+sentinel://u@a:1,b:2", "redis+sentinel://u@a:1,b:2"),
            ("://", "://"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }
}
