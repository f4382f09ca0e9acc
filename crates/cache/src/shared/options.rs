//! `[shared]`

use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::config::{TIME_LIMITS, TableReader};
use contract::{SigningKeysSource, parse_region};

use super::error::TierError;
use super::redis::{RedisLogin, RedisOptions, RedisTls, parse_prefix};
use super::url::SharedUrl;

/// The keys that `memory:` has no use for.
const REDIS_KEYS: [&str; 10] = [
    "password_file",
    "ca",
    "cert",
    "key",
    "signing_keys",
    "signing_keys_file",
    "unsigned",
    "sentinel_user",
    "sentinel_password",
    "sentinel_password_file",
];

/// The shared tier's settings. By default it is in this process.
#[derive(Debug)]
pub struct SharedOptions {
    /// Its address.
    pub url: SharedUrl,
    /// The file with its password, which is read for each connection.
    pub password_file: Option<PathBuf>,
    /// Its region, if that is configured; by default the process's.
    pub region: Option<String>,
    /// The time limit of one call.
    pub timeout: Duration,
    /// The prefix of every key in it.
    pub prefix: String,
    /// PEM file of the authorities trusted to sign its certificate; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// PEM file of the client certificate.
    pub cert: Option<PathBuf>,
    /// PEM file of the client certificate's key.
    pub key: Option<PathBuf>,
    /// The keys that sign and verify its values. `None`: it is trusted.
    pub signing: Option<SigningKeysSource>,
    /// Whether values without a signature are used although there are keys.
    pub accepts_unsigned: bool,
    /// The login of the sentinels.
    pub sentinel: RedisLogin,
}

impl Default for SharedOptions {
    fn default() -> Self {
        Self {
            url: SharedUrl::Memory,
            password_file: None,
            region: None,
            timeout: Duration::from_millis(50),
            prefix: "tg".to_owned(),
            ca: None,
            cert: None,
            key: None,
            signing: None,
            accepts_unsigned: false,
            sentinel: RedisLogin::default(),
        }
    }
}

impl SharedOptions {
    /// The keys of `[shared]`.
    pub const KEYS: &[&str] = &[
        "url",
        "password_file",
        "region",
        "timeout",
        "prefix",
        "ca",
        "cert",
        "key",
        "signing_keys",
        "signing_keys_file",
        "unsigned",
        "sentinel_user",
        "sentinel_password",
        "sentinel_password_file",
    ];

    /// Reads `[shared]`. `folder`: the base of relative file names. With problems, the values are defaults
    /// where they could not be read.
    pub fn read(table: &mut TableReader<'_>, folder: &Path) -> Self {
        let default = Self::default();
        let user = table.text("sentinel_user").map(str::to_owned);
        let password = table.text_with("sentinel_password", |text| Ok(text.to_owned()));
        let mut file = |key: &str| table.file(key, folder);
        let password_file = file("password_file");
        let sentinel = RedisLogin { user, password, password_file: file("sentinel_password_file") };
        let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
        if sentinel.password.is_some() && sentinel.password_file.is_some() {
            let message = "is there beside sentinel_password";
            table.problem("conflict", "sentinel_password_file", message, "remove one of them");
        }
        let signing = SigningKeysSource::read(table, ["signing_keys", "signing_keys_file"], folder);
        let unsigned = table.choice("unsigned", &[("refuse", false), ("accept", true)]);
        if table.has("unsigned") && !table.has("signing_keys") && !table.has("signing_keys_file") {
            let message = "is for values in Redis beside signed ones, and there is no key";
            table.problem("conflict", "unsigned", message, "remove it, or write signing_keys");
        }
        let url = table.text_with("url", str::parse);
        let url = url.or_else(|| (!table.has("url")).then_some(default.url));
        match &url {
            Some(SharedUrl::Redis(text)) => {
                check_redis(table, text, &sentinel, password_file.as_deref());
            }
            Some(SharedUrl::Memory) => check_memory(table),
            None => {}
        }
        Self {
            url: url.unwrap_or(SharedUrl::Memory),
            password_file,
            region: table.text_with("region", parse_region),
            timeout: table.duration("timeout", TIME_LIMITS).unwrap_or(default.timeout),
            prefix: table.text_with("prefix", parse_prefix).unwrap_or(default.prefix),
            ca,
            cert,
            key,
            signing,
            accepts_unsigned: unsigned.unwrap_or(default.accepts_unsigned),
            sentinel,
        }
    }

    /// Returns the options of a tier in Redis, with the content of the certificate files; `None`: `memory:`. `source`:
    /// the source whose log it follows, if that is not the main one.
    ///
    /// # Errors
    /// [`TierError::Unsuitable`]: a file can't be read.
    pub fn redis(&self, source: Option<&str>) -> Result<Option<RedisOptions>, TierError> {
        let SharedUrl::Redis(url) = &self.url else { return Ok(None) };
        let tls = RedisTls {
            ca: read_file("ca", self.ca.as_deref())?,
            cert: read_file("cert", self.cert.as_deref())?,
            key: read_file("key", self.key.as_deref())?,
        };
        let signing = self.signing.as_ref().map(|source| {
            let keys = source.keys(|path| std::fs::read_to_string(path));
            keys.map_err(|err| TierError::Unsuitable(format!("signing_keys_file = {err}")))
        });
        Ok(Some(RedisOptions {
            tls,
            signing: signing.transpose()?,
            accepts_unsigned: self.accepts_unsigned,
            password_file: self.password_file.clone(),
            sentinel: self.sentinel.clone(),
            prefix: self.prefix.clone(),
            source: source.map(str::to_owned),
            timeout: self.timeout,
            ..RedisOptions::new(url)
        }))
    }
}

fn read_file(key: &str, file: Option<&Path>) -> Result<Option<Vec<u8>>, TierError> {
    let Some(path) = file else { return Ok(None) };
    std::fs::read(path)
        .map(Some)
        .map_err(|err| TierError::Unsuitable(format!("{key} = {path:?}: {err}")))
}

fn check_redis(
    table: &mut TableReader<'_>,
    url: &str,
    sentinel: &RedisLogin,
    password_file: Option<&Path>,
) {
    let (sentinel, password_file) = (sentinel.clone(), password_file.map(Path::to_owned));
    let options = RedisOptions { sentinel, password_file, ..RedisOptions::new(url) };
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
