//! Every option has a key, and every key a row in docs/configuration.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use contract::config::{KeySurvey, TableReader};

use super::raw::{KEYS, RawConfig};
use super::settings::{RESTART, is_among};
use super::{reference, schema};

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
client_ca = "clients.pem"
client_crl_file = "clients.crl"
client = [{ name = "a", certificate = "cn:a", role = "viewer", reads = ["product"] }]
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
handshake_timeout = "1s"
redirect = "127.0.0.1:5"
redirect_port = 443
gateway_tls = { cert = "a.pem", key = "a.key", certificate = [{ cert = "b.pem", key = "b.key" }], min_version = "1.3", acme = { directory = "https://ca.internal/dir", ca = "ca.pem", contact = ["a@b.c"], domains = ["b.c"], terms_agreed = true, storage = "acme", challenge = "http-01", external_account_id = "1", external_account_key_file = "eab" } }
data_tls = { cert = "a.pem", key = "a.key", certificate = [{ cert = "b.pem", key = "b.key" }], min_version = "1.3" }
admin_tls = { cert = "a.pem", key = "a.key", certificate = [{ cert = "b.pem", key = "b.key" }], min_version = "1.3" }
sale_tls = { cert = "a.pem", key = "a.key", certificate = [{ cert = "b.pem", key = "b.key" }], min_version = "1.3" }
[listen.tls]
cert = "a.pem"
key = "a.key"
certificate = [{ cert = "b.pem", key = "b.key" }]
min_version = "1.3"
listeners = ["gateway"]
[source.shop]
url = "postgres://shop@db/shop"
main = true
replicas = ["postgres://shop@standby/shop"]
connections = 3
load_timeout = "1s"
message_keys = ["0123456789abcdef0123456789abcdef"]
events = { from = "debezium", secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8=", slot = "s", publication = "p", beat = "1s" }
[shared]
url = "rediss+sentinel://u:p@a:1,b:2/shop"
region = "eu"
timeout = "1s"
prefix = "x"
ca = "ca.pem"
cert = "cert.pem"
key = "key.pem"
signing_keys = ["0123456789abcdef0123456789abcdef"]
unsigned = "accept"
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
url = "https://b:2"
host = "upstream"
server_name = "b.internal"
ca = "ca.pem"
cert = "cert.pem"
key = "key.pem"
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
ignore_query = ["utm_*"]
sort_query = true
[sale]
url = "postgres://shop@db/stock"
password_file = "password"
connections = 3
timeout = "1s"
early_refusals = "1ms"
payment_patience = "1s"
workers = { high = 1, medium = 1, low = 1 }
job_depth = 1
[sale.payment.card]
kind = "http"
url = "https://pay.example/v1"
key_file = "key"
webhook_secret_file = "secret"
timeout = "1s"
calls_per_second = 3
[jobs.mail]
class = "high"
url = "https://shop.example/mail"
secret_file = "secret"
timeout = "1s"
batch = 2
attempts = 2
retry_delay = "2s"
retry_delay_max = "3s"
ttl = "1s"
on = ["order-placed"]
every = "1h"
[client_tls]
ca = "ca.pem"
cert = "cert.pem"
key = "key.pem"
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
message_keys_file = "message.keys"
[shared]
url = "redis+sentinel://u@a:1/shop"
signing_keys_file = "signing.keys"
password_file = "password"
sentinel_user = "u"
sentinel_password_file = "password"
[upstream]
url = "unix:/run/app.sock"
"#,
];

/// Options that no key of these sets, with the reason.
const OTHER_OPTIONS: &[(&str, &str)] = &[
    ("gateway.routes.default.", "the route of all other pages has the defaults of a route"),
    ("sources.\"shop\".main", "the only source is the main one in any case"),
    ("client_tls.server_name", "each service and each node has the name in its own address"),
];

fn survey() -> KeySurvey {
    TableReader::survey(KEYS, |table| RawConfig::sections(table, Path::new("")))
}

fn rows() -> BTreeSet<String> {
    reference::rows().into_iter().map(|row| row.key).collect()
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

/// A new key has to be in the table, and the table has to say the same as the code.
#[test]
fn page_says_whether_each_key_reloads() {
    let table = reference::reload_table();
    let read = survey().read;
    let is_table = |key: &String| read.iter().any(|other| other.starts_with(&format!("{key}.")));
    for key in read.iter().filter(|key| !is_table(key)) {
        let root = key.split("[]").next().expect("a part");
        let rows: Vec<_> = table.iter().filter(|row| row.has(root)).collect();
        let [row] = *rows else { panic!("{key} is in {} rows", rows.len()) };
        assert_eq!(row.needs_restart, is_among(root, RESTART), "{key}");
    }
}

/// An editor that reads the schema must not call a valid file wrong.
#[test]
fn schema_accepts_full_configuration_and_refuses_unknown_key() {
    let schema = schema();
    let contract = "[data.product]\nkey = \"v1:a:b:{id}\"\nstaleness = \"1s\"\nvalue = { http = \"http://a/{id}\" }\n\
                    absent_filter = true\nfrom = { source = \"shop\", table = \"p\" }\nmax_size = 1000\n\
                    approved = { by = [\"a\"], on = 2026-11-02 }\nunproven = \"fail\"\n";
    for text in FULL {
        let root: toml::Table = format!("{text}{contract}").parse().expect("TOML");
        let root = serde_json::to_value(&root).expect("JSON");
        assert_eq!(refused(&schema, &root), None);
    }
    for text in [
        "[listen]\ngatway = \"a\"",
        "[source.shop]\npublication = \"p\"",
        "[upstream]\nurl = 1",
        "[[edge.route]]\npath = \"/\"\nunproven = \"guess\"",
        "[data.product]\nkey = \"k\"\nstalenes = \"1s\"",
        "[audit]\nsample = 1.5",
    ] {
        let root: toml::Table = text.parse().expect("TOML");
        let root = serde_json::to_value(&root).expect("JSON");
        assert!(refused(&schema, &root).is_some(), "{text}");
    }
}

#[test]
fn schema_describes_every_key() {
    let mut bare = Vec::new();
    undescribed("", &schema(), &mut bare);
    // The tables themselves have no row in the page.
    let read = survey().read;
    let is_table = |path: &String| {
        let [table, list] = ["", "[]"].map(|list| format!("{path}{list}."));
        read.iter().any(|key| key.starts_with(&table) || key.starts_with(&list))
    };
    bare.retain(|path| {
        path != "data" && path != "source" && path != "edge.route" && !is_table(path)
    });
    assert!(bare.is_empty(), "{bare:?}");
}

fn undescribed(path: &str, schema: &serde_json::Value, bare: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, schema) in properties {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{name}");
        if schema["description"].as_str().is_none_or(str::is_empty) {
            bare.push(path.clone());
        }
        undescribed(&path, schema, bare);
        undescribed(&format!("{path}[]"), &schema["items"], bare);
        undescribed(&format!("{path}.NAME"), &schema["additionalProperties"], bare);
    }
}

/// Returns the first value that a schema refuses, by the keywords that it uses.
fn refused(schema: &serde_json::Value, value: &serde_json::Value) -> Option<String> {
    use serde_json::Value;
    if let Some(any) = schema["anyOf"].as_array() {
        let all_refused = any.iter().all(|schema| refused(schema, value).is_some());
        return all_refused.then(|| format!("{value} fits none of {any:?}"));
    }
    if let Some(words) = schema["enum"].as_array() {
        return (!words.contains(value)).then(|| format!("{value} is none of {words:?}"));
    }
    let is_type = |name: &Value| match name.as_str().expect("a type") {
        // A date without quotes is a table with one key in this conversion.
        "string" => value.is_string() || schema["format"] == "date",
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    };
    let kinds = &schema["type"];
    if !kinds.as_array().map_or_else(|| is_type(kinds), |kinds| kinds.iter().any(is_type)) {
        return Some(format!("{value} is not {kinds}"));
    }
    if schema["pattern"] == "\\$" && !value.as_str().is_some_and(|text| text.contains('$')) {
        return Some(format!("{value} has no $"));
    }
    let number = value.as_f64();
    let outside = |bound: &str, is_outside: fn(f64, f64) -> bool| {
        number.zip(schema[bound].as_f64()).is_some_and(|(number, bound)| is_outside(number, bound))
    };
    if outside("minimum", |number, bound| number < bound)
        || outside("maximum", |number, bound| number > bound)
    {
        return Some(format!("{value} is out of range"));
    }
    for item in value.as_array().into_iter().flatten() {
        if let Some(reason) = refused(&schema["items"], item) {
            return Some(reason);
        }
    }
    let (Value::Object(fields), "object") = (value, kinds.as_str().unwrap_or_default()) else {
        return None;
    };
    let required = schema["required"].as_array().into_iter().flatten();
    let missing = required.filter_map(Value::as_str).find(|name| !fields.contains_key(*name));
    if let Some(missing) = missing {
        return Some(format!("{missing} is missing"));
    }
    fields.iter().find_map(|(name, field)| {
        match (&schema["properties"][name.as_str()], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => Some(format!("{name} is unknown")),
            (Value::Null, other) => refused(other, field),
            (known, _) => refused(known, field).map(|reason| format!("{name}: {reason}")),
        }
    })
}

fn collect_keys(path: &str, value: &toml::Value, keys: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let dot = if path.is_empty() { "" } else { "." };
                let is_named = matches!(path, "source" | "sale.payment" | "jobs");
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
