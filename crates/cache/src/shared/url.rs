//! The address of the shared tier. Secrets in it are never printed.

use std::fmt;
use std::str::FromStr;

use contract::config::ValueError;
use database::{check_login, redacted};

/// The address of the shared tier.
#[derive(Clone, Eq, PartialEq)]
pub enum SharedUrl {
    /// `memory:`, in this process, for one node.
    Memory,
    /// `redis://user:password@host:port/database`, or the forms for TLS, Sentinel and Cluster.
    Redis(String),
}

impl SharedUrl {
    /// The forms of the address of a shared tier, for error messages.
    pub const FORMS: &str = "write redis://host:6379, rediss://host:6379 (TLS), \
         redis+sentinel://host:26379,host:26379/NAME, redis+cluster://host:6379,host:6379 \
         or memory: (one process)";
}

impl FromStr for SharedUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        match (text, scheme) {
            ("memory:", _) => Ok(Self::Memory),
            (
                _,
                Some(
                    "redis" | "rediss" | "redis+sentinel" | "rediss+sentinel" | "redis+cluster"
                    | "rediss+cluster",
                ),
            ) => {
                // The parser would take the rest of the login for a path.
                check_login(text, &['/', '?', '#']).map_err(|err| {
                    let message = format!("`{}` {}", redacted(text), err.problem);
                    ValueError::wrong_value(message, err.remedy)
                })?;
                Ok(Self::Redis(text.to_owned()))
            }
            _ => Err(ValueError::wrong_value(
                format!("`{}` is not the address of a shared tier", redacted(text)),
                Self::FORMS,
            )),
        }
    }
}

impl fmt::Display for SharedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Redis(url) => f.write_str(&redacted(url)),
        }
    }
}

impl fmt::Debug for SharedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_scheme_names_valid_forms() {
        let err = "memcached://x".parse::<SharedUrl>().expect_err("not supported");
        assert!(err.help.contains("redis://"), "{err}");
    }
}
