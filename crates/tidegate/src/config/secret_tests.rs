//! No error of a configuration shows a secret, wherever it is.

use std::fs;

use proptest::prelude::{any, prop, prop_assert, proptest};
use proptest::sample::{Index, select};

use super::Config;

const SECRET: &str = "hunter2plant";
const URL: &str = "postgres://shop:hunter2plant@127.0.0.1:5432/shop?sslmode=require";

/// A configuration with secrets in every place that takes one.
const WHOLE: &str = r#"
[listen]
gateway = "127.0.0.1:8080"
data    = "127.0.0.1:9170"
[source.shop]
url = "postgres://shop:hunter2plant@127.0.0.1:5432/shop?sslmode=require"
replicas = ["postgres://shop:hunter2plant@127.0.0.2:5432/shop"]
connections = 8
[shared]
url = "redis+sentinel://u:hunter2plant@a:1,b:2/shop"
sentinel_user = "watcher"
sentinel_password = "hunter2plant"
prefix = "tg"
[upstream]
url = "http://127.0.0.1:3000"
[local]
memory = "256MiB"
"#;

/// Returns the output of the configuration, as an error or for a debugger.
fn shown(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tidegate.toml");
    fs::write(&path, text).expect("written");
    match Config::read(&path) {
        Ok(config) => format!("{config:?} {}", config.findings),
        Err(err) => format!("{err} {}", err.to_string().escape_debug()),
    }
}

#[test]
fn url_at_any_key_hidden() {
    for (section, keys) in [
        ("", super::raw::KEYS),
        ("node", super::node::KEYS),
        ("listen", super::listen::KEYS),
        ("listen.tls", &["cert", "key", "certificate", "min_version", "listeners"]),
        ("listen.gateway_tls.acme", &acme::AcmeOptions::KEYS),
        ("source.shop", super::source::KEYS),
        ("source.shop.events", super::source_events::KEYS),
        ("shared", cache::shared::SharedOptions::KEYS),
        ("local", cache::LocalMemory::KEYS),
        ("local.pools", cache::LocalMemory::POOL_KEYS),
        ("governor", cache::GovernorMode::KEYS),
        ("upstream", edge::GatewayOptions::UPSTREAM_KEYS),
        ("edge", edge::EdgeSection::KEYS),
        ("log", super::log::KEYS),
        ("audit", ::node::AuditOptions::KEYS),
        ("access", access::AccessOptions::KEYS),
        ("access.client", &["name", "certificate", "role", "reads"]),
        ("client_tls", &edge::TlsFiles::KEYS),
        ("access.audit_log", &["file", "rotate"]),
        ("sale", sale::SaleOptions::KEYS),
        ("sale.payment.card", sale::payment::PaymentOptions::KEYS),
        ("sale.workers", sale::jobs::JobWorkers::KEYS),
        ("jobs.mail", sale::jobs::JobOptions::KEYS),
        ("data.price", &["key", "value", "staleness", "owner", "tags", "from"]),
        ("misspelt", &["url"]),
    ] {
        for key in keys.iter().chain(&["urll", "password"]) {
            for value in [
                format!("\"{URL}\""),
                format!("[\"{URL}\"]"),
                format!("{{ a = \"{URL}\" }}"),
                format!("'{}'", URL.replace("://", ":/")),
                format!("\"{}\"", URL.replace("postgres", "http")),
                format!("\"{}\"", URL.replace("hunter2plant", "p:hunter2plant@x/")),
                format!("\"{}\"", URL.replace("hunter2plant", "hunter2plant#1^$")),
                format!("\"{}\"", URL.replace("postgres", "postgress")),
                URL.to_owned(),
                format!("\"{URL}"),
                format!("{URL}\""),
                format!("\"{URL}\"\n{key} = \"{URL}\""),
            ] {
                let head =
                    if section.is_empty() { String::new() } else { format!("[{section}]\n") };
                let text = format!("{head}{key} = {value}\n");
                let shown = shown(&text);
                assert!(!shown.contains(SECRET), "{text}\n{shown}");
            }
        }
    }
}

#[test]
fn url_as_key_hidden() {
    for text in [
        format!("\"{URL}\" = 1"),
        format!("[source]\n\"{URL}\" = 1"),
        format!("[source.\"{URL}\"]\nurl = 1"),
        format!("[\"{URL}\"]"),
        URL.to_owned(),
        format!("url = {URL}"),
        format!("[source.shop]\nurl: \"{URL}\""),
        format!("[source.shop]\nurl \"{URL}\""),
    ] {
        let shown = shown(&text);
        assert!(!shown.contains(SECRET), "{text}\n{shown}");
    }
}

proptest! {
    #[test]
    fn damaged_file_shows_no_secret(
        edits in prop::collection::vec((any::<Index>(), select(vec!["", "\"", "'", "\n", "=", "[", "]", ".", "@", ":", "#", "{", "x", " ", "\\"]), any::<bool>()), 1..4)
    ) {
        let mut text = WHOLE.to_owned();
        for (at, inserted, removes) in edits {
            let at = at.index(text.len());
            // A secret that is damaged itself is another one, and without the signs beside it, it is none.
            let is_inside = text
                .match_indices(SECRET)
                .any(|(start, _)| (start - 1..=start + SECRET.len()).contains(&at));
            if !is_inside {
                let end = if removes { at + 1 } else { at };
                text.replace_range(at..end, inserted);
            }
        }
        let shown = shown(&text);
        prop_assert!(!shown.contains(SECRET), "{}\n{}", text, shown);
    }
}
