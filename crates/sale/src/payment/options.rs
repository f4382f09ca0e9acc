//! `[sale.payment.NAME]`

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use contract::config::{TableReader, ValueError};

/// The protocol of a provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProviderKind {
    /// Stripe's PaymentIntents.
    Stripe,
    /// The shop's own payment service, by the protocol in docs/sale.md.
    Http,
}

/// The address of a provider, or of an endpoint of jobs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProviderUrl {
    pub(super) is_tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Host and port as in a request.
    pub(super) authority: String,
    /// Without `/` at its end.
    pub(super) path: String,
}

const FORM: &str = "write https://host/path, or http:// for an address of this machine such as http://127.0.0.1:4242";

impl FromStr for ProviderUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = |problem: &str| ValueError::wrong_value(problem, FORM);
        let uri: axum::http::Uri = text.parse().map_err(|_| wrong("is no URL"))?;
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(wrong("has a user or a query; the key belongs into key_file"));
        }
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("is neither https nor http")),
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let is_local = host == "localhost"
            || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        if !is_tls && !is_local {
            return Err(wrong("would send the key in the clear to another machine"));
        }
        Ok(Self {
            is_tls,
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path().trim_end_matches('/').to_owned(),
            host,
        })
    }
}

/// The options of a provider. Secrets are in files, and never printed.
#[derive(Clone, Debug)]
pub struct PaymentOptions {
    /// The protocol.
    pub kind: ProviderKind,
    pub(super) url: ProviderUrl,
    /// The file with the secret key.
    pub key_file: PathBuf,
    /// The file with the secret that signs the provider's events.
    pub webhook_secret_file: Option<PathBuf>,
    /// The time limit of one call.
    pub timeout: Duration,
    /// The most calls in a second.
    pub calls_per_second: u32,
}

/// The shortest and the longest time limit of a call.
const TIME_LIMITS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(30);

impl PaymentOptions {
    /// The keys of the section.
    pub const KEYS: &[&str] =
        &["kind", "url", "key_file", "webhook_secret_file", "timeout", "calls_per_second"];

    /// Reads the section; `folder`: the base of relative file names.
    pub(crate) fn read(table: &mut TableReader<'_>, folder: &Path) -> Option<Self> {
        let kinds = [("stripe", ProviderKind::Stripe), ("http", ProviderKind::Http)];
        let kind = table.choice("kind", &kinds).unwrap_or(ProviderKind::Stripe);
        let url = table.text_with("url", str::parse);
        let has_url = table.has("url");
        if kind == ProviderKind::Http && !has_url {
            table.problem("missing", "url", "is missing", FORM);
        }
        let has_key = table.has("key_file");
        if !has_key {
            let help = "name the file with the provider's secret key";
            table.problem("missing", "key_file", "is missing", help);
        }
        let key_file = table.file("key_file", folder);
        let webhook_secret_file = table.file("webhook_secret_file", folder);
        let timeout = table.duration("timeout", TIME_LIMITS).unwrap_or(Duration::from_secs(10));
        let calls_per_second = table.whole_number("calls_per_second", 1..=100_000).unwrap_or(25);
        let url = match (url, has_url) {
            (Some(url), _) => url,
            (None, true) => return None,
            (None, false) => "https://api.stripe.com".parse().ok()?,
        };
        Some(Self {
            kind,
            url,
            key_file: key_file?,
            webhook_secret_file,
            timeout,
            calls_per_second,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_never_leaves_in_the_clear() {
        let url: ProviderUrl = "https://api.stripe.com/".parse().expect("a url");
        assert_eq!((url.is_tls, url.port, &*url.path), (true, 443, ""));
        let local: ProviderUrl = "http://[::1]:4242/pay/".parse().expect("a url");
        assert_eq!(
            (local.is_tls, local.port, &*local.host, &*local.path),
            (false, 4242, "::1", "/pay")
        );
        for text in ["http://pay.example", "ftp://127.0.0.1", "https://k:s@pay.example", "pay", ""]
        {
            assert!(text.parse::<ProviderUrl>().is_err(), "{text}");
        }
    }
}
