//! `[shared]`

use std::path::{Path, PathBuf};
use std::time::Duration;

use cache::shared::{RedisLogin, RedisOptions};
use contract::config::{TIME_LIMITS, TableReader, ValueError};

use super::syntax::region;
use super::url::SharedUrl;

pub(super) const KEYS: &[&str] = &[
    "url",
    "region",
    "timeout",
    "prefix",
    "ca",
    "cert",
    "key",
    "sentinel_user",
    "sentinel_password",
];

/// The keys that `memory:` has no use for.
const REDIS_KEYS: [&str; 5] = ["ca", "cert", "key", "sentinel_user", "sentinel_password"];

/// The shared tier's settings.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Its address.
    pub(crate) url: SharedUrl,
    /// Its region, if that is configured; see [`Regions`](super::Regions).
    pub(super) region: Option<String>,
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

impl Default for Shared {
    fn default() -> Self {
        Self {
            url: SharedUrl::Memory,
            region: None,
            timeout: Duration::from_millis(50),
            prefix: "tg".to_owned(),
            ca: None,
            cert: None,
            key: None,
            sentinel: RedisLogin::default(),
        }
    }
}

impl Shared {
    /// `folder`: the base of relative file names.
    pub(super) fn read(table: &mut TableReader<'_>, folder: &Path) -> Self {
        let default = Self::default();
        let sentinel = RedisLogin {
            user: table.text("sentinel_user").map(str::to_owned),
            password: table.text_with("sentinel_password", |text| Ok(text.to_owned())),
        };
        let mut file = |key: &str| table.text(key).map(|file| folder.join(file));
        let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
        let url = match table.has("url") {
            true => table.text_with("url", str::parse),
            false => Some(default.url),
        };
        match &url {
            Some(SharedUrl::Redis(text)) => check_redis(table, text, &sentinel),
            Some(SharedUrl::Memory) => check_memory(table),
            None => {}
        }
        Self {
            url: url.unwrap_or(SharedUrl::Memory),
            region: table.text_with("region", region),
            timeout: table.duration("timeout", TIME_LIMITS).unwrap_or(default.timeout),
            prefix: table.text_with("prefix", prefix).unwrap_or(default.prefix),
            ca,
            cert,
            key,
            sentinel,
        }
    }
}

fn prefix(text: &str) -> Result<String, ValueError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.len() <= 32 && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(ValueError::wrong_value(
        format!("`{text}` is not a prefix"),
        "use 1 to 32 of a-z, 0-9 and -",
    ))
}

fn check_redis(table: &mut TableReader<'_>, url: &str, sentinel: &RedisLogin) {
    let options = RedisOptions { sentinel: sentinel.clone(), ..RedisOptions::new(url) };
    if let Err(err) = options.check() {
        let message = format!("`{}`: {err}", database::redacted(url));
        table.problem("wrong-value", "url", message, SharedUrl::FORMS);
    }
}

fn check_memory(table: &mut TableReader<'_>) {
    for key in REDIS_KEYS.into_iter().filter(|key| table.has(key)).collect::<Vec<_>>() {
        let help = "remove it, or set `url` to the address of a Redis";
        table.problem("conflict", key, "is for Redis, and `url` is `memory:`", help);
    }
}
