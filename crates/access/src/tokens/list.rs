//! The list of access tokens, and its form in a file.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use contract::Problem;
use contract::config::{TableReader, ValueError};

use super::secret::{AccessToken, TokenHash};
use crate::caller::Caller;
use crate::refusal::Refusal;
use crate::rights::{Reads, Rights, Role};

const FILE_KEYS: &[&str] = &["token"];
const TOKEN_KEYS: &[&str] = &["name", "role", "reads", "sha256", "created", "expires"];

/// The longest name of a token, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// The most tokens of a list: each request is compared with all of them.
const TOKENS_MAX: usize = 1_000;

/// The first lines of the file.
const HEADER: &str = "\
# Written by `tidegate token`. It holds hashes only: a token is shown once, when it is made.
# A running node reads changes within a second.
";

/// One access token, without its secret.
#[derive(Clone, Debug)]
pub struct TokenEntry {
    /// Its name, in lists and in the audit log.
    pub name: Arc<str>,
    /// Its rights.
    pub rights: Arc<Rights>,
    /// When it was made, in seconds since 1970.
    pub created_s: u64,
    /// When it ends, in seconds since 1970; `None`: never.
    pub expires_s: Option<u64>,
    hash: TokenHash,
}

impl TokenEntry {
    /// Returns whether it has ended.
    #[must_use]
    pub fn has_expired(&self, now_s: u64) -> bool {
        self.expires_s.is_some_and(|end| end <= now_s)
    }
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// Its rights.
    pub rights: Rights,
    /// The time after which it ends.
    pub lifetime: Option<Duration>,
}

/// All access tokens.
#[derive(Clone, Debug, Default)]
pub struct TokenList(Vec<TokenEntry>);

impl TokenList {
    /// Parses the text of a file.
    ///
    /// # Errors
    /// All problems; at least one.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let root: toml::Table = text.parse().map_err(|err: toml::de::Error| {
            let line = 1 + text[..err.span().map_or(0, |span| span.start).min(text.len())]
                .bytes()
                .filter(|byte| *byte == b'\n')
                .count();
            let message = format!("is not TOML: {}", err.message().replace('\n', "; "));
            let help = "restore it, or make a new one with `tidegate token create`".to_owned();
            vec![ValueError { rule: "syntax", message, help }.at(format!("line {line}"))]
        })?;
        let mut table = TableReader::new("", &root, FILE_KEYS);
        let tokens = table.tables("token", TOKEN_KEYS, read_token);
        let mut names = BTreeSet::new();
        for token in &tokens {
            if !names.insert(Arc::clone(&token.name)) {
                let message = format!("`{}` is there twice", token.name);
                table.problem("duplicate", "token", message, "rename or remove one");
            }
        }
        if tokens.len() > TOKENS_MAX {
            let message = format!("{} tokens", tokens.len());
            table.problem("out-of-range", "token", message, format!("keep at most {TOKENS_MAX}"));
        }
        table.finish(Some(Self(tokens)))
    }

    /// Returns the text of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let mut text = HEADER.to_owned();
        for token in &self.0 {
            text.push_str(&format!("\n[[token]]\nname    = {}\n", quoted(&token.name)));
            if let Some(role) = token.rights.role {
                text.push_str(&format!("role    = {}\n", quoted(role.as_str())));
            }
            if !token.rights.reads.is_empty() {
                let names: Vec<String> =
                    token.rights.reads.names().into_iter().map(quoted).collect();
                text.push_str(&format!("reads   = [{}]\n", names.join(", ")));
            }
            text.push_str(&format!("created = \"{}\"\n", rfc3339(token.created_s)));
            if let Some(end) = token.expires_s {
                text.push_str(&format!("expires = \"{}\"\n", rfc3339(end)));
            }
            text.push_str(&format!("sha256  = \"{}\"\n", token.hash));
        }
        text
    }

    /// Returns the tokens, in the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = &TokenEntry> {
        self.0.iter()
    }

    /// Returns whether there is no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a token and returns its secret.
    ///
    /// # Errors
    /// The name or the rights are invalid, or the system has no randomness.
    pub fn add(&mut self, new: NewToken, now_s: u64) -> Result<AccessToken, ValueError> {
        let name = check_name(&new.name)?;
        if self.0.iter().any(|token| *token.name == *name) {
            return Err(ValueError::wrong_value(
                format!("there is a token `{name}` already"),
                "choose another name, such as one with a date: both are valid until you revoke the old one",
            ));
        }
        if self.0.len() == TOKENS_MAX {
            let message = format!("there are {TOKENS_MAX} tokens already");
            return Err(ValueError::wrong_value(message, "revoke those that are not in use"));
        }
        check_rights(&new.rights)?;
        let token = AccessToken::generate().map_err(|err| {
            ValueError::wrong_value(format!("the system has no randomness: {err}"), "try again")
        })?;
        self.0.push(TokenEntry {
            name: name.into(),
            rights: Arc::new(new.rights),
            created_s: now_s,
            expires_s: new.lifetime.map(|lifetime| now_s.saturating_add(lifetime.as_secs())),
            hash: token.hash(),
        });
        Ok(token)
    }

    /// Removes the token of that name.
    ///
    /// # Errors
    /// There is none; the text names those that exist.
    pub fn remove(&mut self, name: &str) -> Result<TokenEntry, ValueError> {
        let Some(at) = self.0.iter().position(|token| *token.name == *name) else {
            let names: Vec<&str> = self.0.iter().map(|token| &*token.name).collect();
            let help = match names[..] {
                [] => "there are no tokens".to_owned(),
                _ => format!("the tokens are: {}", names.join(", ")),
            };
            return Err(ValueError::wrong_value(format!("there is no token `{name}`"), help));
        };
        Ok(self.0.remove(at))
    }

    /// Returns the holder of a token. Compares with every hash, in a time that depends on their number only.
    ///
    /// # Errors
    /// [`Refusal::UnknownToken`] or [`Refusal::ExpiredToken`].
    pub(crate) fn holder(
        &self,
        token: &AccessToken,
        from: std::net::IpAddr,
        now_s: u64,
    ) -> Result<Caller, Refusal> {
        let hash = token.hash();
        let mut found = None;
        for entry in &self.0 {
            if hash.equals(&entry.hash) {
                found = Some(entry);
            }
        }
        let entry = found.ok_or(Refusal::UnknownToken)?;
        if entry.has_expired(now_s) {
            return Err(Refusal::ExpiredToken(entry.name.to_string()));
        }
        Ok(Caller::holder(Arc::clone(&entry.name), from, Arc::clone(&entry.rights)))
    }
}

fn read_token(table: &mut TableReader<'_>) -> Option<TokenEntry> {
    let name = table.required_text_with("name", "name the token", check_name);
    let rights = read_rights(table);
    const TIME: &str = "write a time such as \"2026-11-30T12:00:00Z\"";
    let time = |text: &str| seconds(text).ok_or("is not a time");
    let created_s = table.required("created", "wrong-value", TIME, time);
    let expires_s = table.parsed("expires", "wrong-value", TIME, time);
    let hash = table.required_text_with("sha256", "make the token again", str::parse);
    Some(TokenEntry {
        name: name?.into(),
        rights: Arc::new(rights),
        created_s: created_s?,
        expires_s,
        hash: hash?,
    })
}

/// Reads the keys `role` and `reads` of a token, or of a certificate's entry.
pub(crate) fn read_rights(table: &mut TableReader<'_>) -> Rights {
    let rights = Rights {
        role: table.choice("role", &Role::NAMES),
        reads: Reads::of_names(
            table.list_with("reads", check_contract).into_iter().map(|(_, name)| name),
        ),
    };
    if !table.has("role")
        && !table.has("reads")
        && let Err(err) = check_rights(&rights)
    {
        table.problem(err.rule, "", err.message, err.help);
    }
    rights
}

/// Checks the name of a token, or of a certificate's entry, which appears in lists, logs and headers.
pub(crate) fn check_name(name: &str) -> Result<String, ValueError> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name == Caller::ANONYMOUS {
        let message = format!("`{name}` stands for callers without a token");
        return Err(ValueError::wrong_value(message, "choose another name"));
    }
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_valid) {
        return Ok(name.to_owned());
    }
    Err(ValueError::wrong_value(
        format!("{name:?} is not a name for a caller"),
        format!("use letters, digits, `-`, `_` and `.`, at most {NAME_BYTES_MAX}"),
    ))
}

fn check_rights(rights: &Rights) -> Result<(), ValueError> {
    if rights.role.is_some() || !rights.reads.is_empty() {
        return Ok(());
    }
    Err(ValueError::wrong_value(
        "the caller may do nothing",
        "give it a role (viewer, operator, admin), or contracts to read",
    ))
}

fn check_contract(name: &str) -> Result<String, ValueError> {
    match name.trim() {
        "" => Err(ValueError::wrong_value("is empty", "name a contract, or \"*\" for all")),
        name => Ok(name.to_owned()),
    }
}

fn rfc3339(seconds: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds.min(MAX_SECONDS)));
    humantime::format_rfc3339_seconds(time.unwrap_or(UNIX_EPOCH)).to_string()
}

/// The last second of the year 9999, the last that RFC 3339 can write.
const MAX_SECONDS: u64 = 253_402_300_799;

fn seconds(text: &str) -> Option<u64> {
    let time: SystemTime = humantime::parse_rfc3339(text).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
