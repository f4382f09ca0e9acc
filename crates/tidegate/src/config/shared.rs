//! `[shared]`

use std::path::{Path, PathBuf};
use std::time::Duration;

use cache::shared::{RedisLogin, RedisOptions};
use serde::Deserialize;

use super::duration;
use super::secret::SecretText;
use super::url::SharedUrl;

/// The shared tier's settings.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Its address.
    pub(crate) url: SharedUrl,
    /// The time limit of one call.
    pub(crate) timeout: Duration,
    /// The prefix of every key in it.
    pub(crate) prefix: String,
    /// PEM file of the authorities trusted to sign its certificate; `None`: the system's.
    pub(crate) ca: Option<PathBuf>,
    /// PEM file of the client certificate.
    pub(crate) cert: Option<PathBuf>,
    /// PEM file of the client certificate's key.
    pub(crate) key: Option<PathBuf>,
    /// The login of the sentinels.
    pub(crate) sentinel: RedisLogin,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SharedSection {
    pub(super) url: String,
    pub(super) region: Option<String>,
    timeout: String,
    prefix: String,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    sentinel_user: Option<String>,
    sentinel_password: Option<SecretText>,
}

impl Default for SharedSection {
    fn default() -> Self {
        Self {
            url: "memory:".into(),
            region: None,
            timeout: "50ms".into(),
            prefix: "tg".into(),
            ca: None,
            cert: None,
            key: None,
            sentinel_user: None,
            sentinel_password: None,
        }
    }
}

impl SharedSection {
    /// `folder`: the base of relative file names.
    pub(super) fn check(self, folder: &Path) -> Result<Shared, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.prefix.is_empty() || self.prefix.len() > 32 || !self.prefix.chars().all(plain) {
            return Err(format!("prefix = {:?}: use 1 to 32 of a-z, 0-9 and -", self.prefix));
        }
        let url: SharedUrl = self.url.parse()?;
        let sentinel = RedisLogin {
            user: self.sentinel_user,
            password: self.sentinel_password.map(|SecretText(password)| password),
        };
        match &url {
            SharedUrl::Redis(text) => {
                let options =
                    RedisOptions { sentinel: sentinel.clone(), ..RedisOptions::new(text) };
                options.check().map_err(|err| format!("url = {:?}: {err}", url.to_string()))?;
            }
            SharedUrl::Memory => {
                let files = [&self.ca, &self.cert, &self.key].iter().any(|file| file.is_some());
                if files || sentinel.user.is_some() || sentinel.password.is_some() {
                    return Err(
                        "ca, cert, key, sentinel_user and sentinel_password are for Redis, \
                                and url is memory:"
                            .into(),
                    );
                }
            }
        }
        let file = |file: Option<PathBuf>| file.map(|file| folder.join(file));
        Ok(Shared {
            url,
            timeout: duration::parse("timeout", &self.timeout)?,
            prefix: self.prefix,
            ca: file(self.ca),
            cert: file(self.cert),
            key: file(self.key),
            sentinel,
        })
    }
}
