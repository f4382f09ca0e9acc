//! Every option has a key, and every key a row in docs/configuration.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use contract::config::{KeySurvey, TableReader};

use super::raw::{KEYS, RawConfig};

const PAGE: &str = include_str!("../../../../docs/configuration.md");

/// A configuration without options.
const LEAST: &str = "[source.shop]\nurl = \"sqlite:a.db\"\n[upstream]\nurl = \"http://a:1\"\n";

/// Configurations in which each key has another value than its default. Two, because some exclude each other.
const FULL: [&str; 2] = [
    r#"
contracts = "contracts/*.toml"
[node]
region = "eu"
stop_delay = "1s"
[access]
hosts = ["tidegate.internal"]
tokens = "tokens.toml"
audit_log = { file = "audit.log", rotate = "1MiB" }
[listen]
gateway = "127.0.0.1:1"
data = "127.0.0.1:2"
admin = "127.0.0.1:3"
sale = "127.0.0.1:4"
backlog = 8
gateway_connections = 10
gateway_connections_per_client = 3
data_connections = 10
data_connections_per_client = 3
admin_connections = 10
admin_connections_per_client = 3
sale_connections = 10
sale_connections_per_client = 3
[source.shop]
url = "postgres://shop@db/shop"
replicas = ["postgres://shop@standby/shop"]
connections = 3
load_timeout = "1s"
events = { from = "debezium", secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8=", slot = "s", publication = "p", beat = "1s" }
[shared]
url = "rediss+sentinel://u:p@a:1,b:2/shop"
region = "eu"
timeout = "1s"
prefix = "x"
ca = "ca.pem"
cert = "cert.pem"
key = "key.pem"
sentinel_user = "u"
sentinel_password = "p"
[local]
memory = "1GiB"
[local.pools]
critical = "10%"
standard = "11%"
ephemeral = "12%"
[governor]
mode = "off"
[upstream]
url = "http://b:2"
host = "upstream"
connect_timeout = "1s"
timeout = "1s"
between_bytes_timeout = "1s"
total_timeout = "1s"
concurrency = 9
min_concurrency = 2
start_concurrency = 3
loads_share = 0.1
client_share = 0.1
queue = 1
queue_timeout = "1s"
[edge]
client_timeout = "1s"
client_min_rate = "2KiB"
responses = 1
responses_per_client = 1
uploads = 1
uploads_per_client = 1
upload_buffer = "1KiB"
websocket_timeout = "1s"
max_page_size = "1MiB"
max_tags = 1
trusted_proxies = ["10.0.0.0/8"]
forwarded = "forwarded"
forwarded_host = true
proxy_protocol = true
scheme = "https"
hosts = ["shop.example"]
head_timeout = "1s"
max_head_size = "16KiB"
drain_timeout = "1s"
[[edge.route]]
path = "/p/"
contract = "product"
staleness = "1s"
unproven = "fail"
max_lifetime = "1s"
stale_while_revalidate = "1s"
priority = "critical"
shows = ["product"]
audit_ignore = ["a"]
store = false
timeout = "1s"
between_bytes_timeout = "1s"
total_timeout = "1s"
key_headers = ["x-currency"]
[sale]
url = "postgres://shop@db/stock"
password_file = "password"
connections = 3
timeout = "1s"
payment_patience = "1s"
[sale.payment.card]
kind = "http"
url = "https://pay.example/v1"
key_file = "key"
webhook_secret_file = "secret"
timeout = "1s"
calls_per_second = 3
[log]
format = "json"
[audit]
reads_per_second = 1.0
sample = 0.5
pages_per_second = 1.0
peers = ["http://b:9180"]
peers_token = "peers.token"
"#,
    r#"
[source.shop]
url = "postgres://shop@db/shop"
password_file = "password"
publication = "p"
slot = "s"
[shared]
url = "redis+sentinel://u@a:1/shop"
password_file = "password"
sentinel_user = "u"
sentinel_password_file = "password"
[upstream]
url = "http://b:2"
"#,
];

/// Options that no key of these sets, with the reason.
const OTHER_OPTIONS: &[(&str, &str)] =
    &[("gateway.routes.default.", "the route of all other pages has the defaults of a route")];

fn survey() -> KeySurvey {
    TableReader::survey(KEYS, |table| RawConfig::sections(table, Path::new("")))
}

/// The keys of the page: first cells that hold nothing but code.
fn rows() -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    let mut prefix = "";
    for line in PAGE.lines() {
        if line.starts_with("## ") {
            prefix = if line == "## `[[edge.route]]`" { "edge.route[]." } else { "" };
        }
        let cell = line.strip_prefix("| `").and_then(|line| line.split(" |").next());
        let key = cell.and_then(|cell| cell.strip_suffix('`')).filter(|key| !key.contains('`'));
        rows.extend(key.map(|key| format!("{prefix}{key}")));
    }
    rows
}

#[test]
fn every_known_key_is_read() {
    let unread: Vec<_> = survey().unread.into_iter().collect();
    assert_eq!(unread, ["data"], "contracts have a parser and a page of their own");
}

#[test]
fn configuration_page_lists_keys_and_no_others() {
    let (read, rows) = (survey().read, rows());
    let is_table = |key: &String| {
        read.iter().any(|other| {
            let rest = other.strip_prefix(key.as_str());
            rest.is_some_and(|rest| rest.starts_with(['.', '[']))
        })
    };
    let missing: Vec<_> =
        read.iter().filter(|key| !is_table(key) && !rows.contains(*key)).collect();
    assert!(missing.is_empty(), "without a row: {missing:?}");
    let unknown: Vec<_> = rows.difference(&read).collect();
    assert!(unknown.is_empty(), "rows without a key: {unknown:?}");
}

#[test]
fn full_configuration_has_every_key() {
    let mut set = BTreeSet::new();
    for text in FULL {
        let root: toml::Table = text.parse().expect("TOML");
        collect_keys("", &toml::Value::Table(root), &mut set);
    }
    let missing: Vec<_> = survey().read.difference(&set).cloned().collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn collect_keys(path: &str, value: &toml::Value, keys: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let dot = if path.is_empty() { "" } else { "." };
                let is_named = matches!(path, "source" | "sale.payment");
                let key = if is_named { "NAME" } else { key };
                let path = format!("{path}{dot}{key}");
                keys.insert(path.clone());
                collect_keys(&path, value, keys);
            }
        }
        toml::Value::Array(items) => {
            items.iter().for_each(|item| collect_keys(&format!("{path}[]"), item, keys));
        }
        _ => {}
    }
}

#[test]
fn every_option_has_a_key() {
    let least = options(LEAST);
    let full = FULL.map(options);
    let unset: Vec<_> = least
        .iter()
        .filter(|(path, values)| full.iter().all(|full| full.get(*path) == Some(values)))
        .map(|(path, _)| path.as_str())
        .filter(|path| !OTHER_OPTIONS.iter().any(|(other, _)| path.starts_with(other)))
        .collect();
    assert!(unset.is_empty(), "no key sets {unset:?}");
}

/// The options that a configuration sets, by the path of their fields, as `Debug` prints them.
fn options(text: &str) -> BTreeMap<String, Vec<String>> {
    let root: toml::Table = text.parse().expect("TOML");
    let (raw, problems) = RawConfig::read(&root, Path::new(""));
    assert!(problems.is_empty(), "{problems:?}");
    let (mut options, mut path) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
    for line in format!("{raw:#?}").lines().skip(1).map(str::trim) {
        let (name, value) = line.split_once(": ").unwrap_or(("", line));
        if line.ends_with(['{', '(', '[']) {
            path.push(name.to_owned());
        } else if line.starts_with(['}', ')', ']']) {
            path.pop();
        } else {
            let place = path.iter().filter(|part| !part.is_empty()).cloned();
            let place: Vec<String> = place.chain([name.to_owned()]).collect();
            options.entry(place.join(".")).or_default().push(value.to_owned());
        }
    }
    options
}
