use std::fs;
use std::time::Duration;

use super::Config;

const EXAMPLE: &str = include_str!("../../../../examples/tidegate.toml");

fn read(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tidegate.toml");
    fs::write(&path, text).expect("written");
    Config::read(&path).map_err(|err| err.to_string())
}

#[test]
fn example_configuration_parsed() {
    let config = read(EXAMPLE).expect("good");
    assert_eq!(config.listen.data, "127.0.0.1:9170".parse().expect("an address"));
    assert_eq!(config.contracts.len(), 1);
    assert_eq!(config.sources["shop"].slot, "tidegate");
    assert_eq!(config.longest_ttl(), Duration::from_secs(60), "twice the budget");
}

#[test]
fn unknown_key_names_nearest() {
    let err = read("[listen]\ngatway = \"127.0.0.1:1\"\n").expect_err("a typo");
    assert!(err.contains("line 2") && err.contains("did you mean `gateway`?"), "{err}");
}

#[test]
fn unknown_source_names_nearest() {
    let err = read(&EXAMPLE.replace("source = \"shop\"", "source = \"shpo\"")).expect_err("a typo");
    assert!(err.contains("[source.shpo]") && err.contains("did you mean \"shop\"?"), "{err}");
}

#[test]
fn invalid_value_names_remedy() {
    for (from, to, hint) in [
        ("redis://127.0.0.1:6379", "memcached://x", "redis://host:6379"),
        ("redis://127.0.0.1:6379", "redis+sentinel://h:1", "/NAME"),
        ("redis://127.0.0.1:6379", "redis+cluster://h:1,h:2/3", "no databases"),
        ("redis://127.0.0.1:6379", "redis://h/x", "can't be read"),
        ("redis://127.0.0.1:6379\"", "memory:\"\nca = \"x.pem\"", "shared.ca: is for Redis"),
        ("redis://127.0.0.1:6379\"", "redis://h\"\nsentinel_user = \"x\"", "redis+sentinel://"),
        ("postgres://shop@127.0.0.1:5432/shop", "oracle://x", "postgres://user@host:5432/database"),
        ("http://127.0.0.1:3000", "https://shop/path", "http://host:port"),
        ("127.0.0.1:8080", "8080", "gateway"),
        ("/shop\"", "/shop\"\nreplicas = [\"sqlite:shop.db\"]", "standbys of a PostgreSQL source"),
        ("/shop\"", "/shop\"\nreplicas = [\"postgres://a:b@h/c\", \"x\"]", "postgres://user@host"),
        ("[listen]", "[audit]\nsample = 1.5\n[listen]", "choose 0 to 1"),
        ("[listen]", "[audit]\nreads_per_second = -1.0\n[listen]", "choose 0 to 10000"),
        ("[listen]", "[audit]\npeers = [\"10.0.0.2:9180\"]\n[listen]", "http://host:port"),
        (
            "[listen]",
            "[audit]\npeers = [\"http://a:1\", \"http://a:1/\"]\n[listen]",
            "is there twice",
        ),
    ] {
        let err = read(&EXAMPLE.replace(from, to)).expect_err(to);
        assert!(err.contains(hint), "{err}");
    }
}

#[test]
fn shared_tier_login_not_printed() {
    let shared = "redis+sentinel://u:hunter2@a:1,b:2/shop\"\nsentinel_password = \"hunter3";
    let config = read(&EXAMPLE.replace("redis://127.0.0.1:6379", shared)).expect("good");
    assert_eq!(config.shared.sentinel.password.as_deref(), Some("hunter3"));
    assert!(!format!("{config:?}").contains("hunter"), "{config:?}");
    let wrong = shared.replace("/shop", "");
    let err = read(&EXAMPLE.replace("redis://127.0.0.1:6379", &wrong)).expect_err("no name");
    assert!(err.contains("u:***@a:1,b:2") && !err.contains("hunter"), "{err}");
}

#[test]
fn duplicate_contract_file_rejected() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tidegate.toml");
    let (base, contract) = EXAMPLE.split_once("[data.product_price]").expect("it is there");
    fs::write(&path, format!("contracts = \"contracts/*.toml\"\n{base}")).expect("written");
    let contracts = folder.path().join("contracts");
    fs::create_dir(&contracts).expect("made");
    let contract = format!("[data.product_price]{contract}");
    fs::write(contracts.join("price.toml"), &contract).expect("written");
    assert_eq!(Config::read(&path).expect("good").contracts.len(), 1);
    fs::write(contracts.join("twice.toml"), &contract).expect("written");
    let err = Config::read(&path).expect_err("twice").to_string();
    assert!(err.contains("twice.toml") && err.contains("is there twice"), "{err}");
}

/// Returns the example with a contract that may not leave the EU.
fn resident(head: &str) -> String {
    let contract = EXAMPLE.replace("owner ", "residency = \"eu\"\nowner ");
    format!("{head}\n{contract}")
}

#[test]
fn residency_without_region_rejected() {
    let err = read(&resident("")).expect_err("no region is configured");
    assert!(err.contains("data.product_price.residency"), "{err}");
    assert!(err.contains("\n[node]\nregion = \"eu\""), "{err}");
    let config = read(&resident("[node]\nregion = \"eu\"")).expect("good");
    let price = config.contracts.get("product_price").expect("it is there");
    assert!(price.tiers == contract::Tiers::ALL && !price.renews() && !price.residency_excluded);
    assert_eq!(config.findings.count(contract::Severity::Warning), 0, "{}", config.findings);
}

#[test]
fn residency_restricts_tiers() {
    let elsewhere = resident("[node]\nregion = \"us-east\"");
    let config = read(&elsewhere).expect("good");
    let price = config.contracts.get("product_price").expect("it is there");
    assert!(price.tiers.is_none() && price.residency_excluded);
    assert_eq!(config.findings.count(contract::Severity::Warning), 1, "{}", config.findings);
    let near = elsewhere.replace("[shared]", "[shared]\nregion = \"eu-west\"");
    let config = read(&near).expect("good");
    let price = config.contracts.get("product_price").expect("it is there");
    assert_eq!(price.tiers, contract::Tiers::SHARED);
}

#[test]
fn unwatched_column_refused_with_place() {
    let text = EXAMPLE.replace("[\"price_cents\", \"currency\"]", "[\"currency\"]");
    let err = read(&text).expect_err("a change of the price would be missed");
    assert!(
        err.contains("error[value-column-not-watched] data.product_price.from.columns"),
        "{err}"
    );
    let line = text.lines().position(|line| line.starts_with("from ")).expect("it is there") + 1;
    assert!(err.contains(&format!("tidegate.toml: line {line}\n")), "{err}");
    assert!(err.ends_with("1 errors, 0 warnings"), "{err}");
}

#[test]
fn invalid_region_rejected() {
    for (head, hint) in [
        ("[node]\nregion = \"EU West\"", "such as \"eu-west\""),
        ("[node]\nregion = \"\"", "node.region: is empty"),
        ("[node]\nregoin = \"eu\"", "did you mean `region`?"),
    ] {
        let err = read(&format!("{head}\n{EXAMPLE}")).expect_err(head);
        assert!(err.contains(hint), "{err}");
    }
    let memory = EXAMPLE.replace("redis://127.0.0.1:6379", "memory:");
    let memory = memory.replace("[shared]", "[shared]\nregion = \"us\"");
    let err = read(&format!("[node]\nregion = \"eu\"\n{memory}")).expect_err("a region of its own");
    assert!(err.contains("shared.region: `us` is not the region of `[node]`"), "{err}");
}

#[test]
fn pool_shares_of_memory_checked() {
    let config = read(EXAMPLE).expect("good");
    assert_eq!((config.local.assured.critical, config.local.assured.ephemeral), (64 << 20, 0));
    let text = format!("[local.pools]\ncritical = \"50%\"\n{EXAMPLE}");
    assert_eq!(read(&text).expect("good").local.assured.critical, 128 << 20);
    let text = format!("[local.pools]\ncritical = \"80%\"\n{EXAMPLE}");
    let err = read(&text).expect_err("too much");
    assert!(err.contains("local.pools: ") && err.contains("90 %"), "{err}");
}

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

const CONTRACTS_HEAD: &str = "# Contracts\n\nThe keys of a `[data.NAME]` table. Unknown keys are \
errors. Generated from the parser's own table by\n`TIDEGATE_BLESS=1 cargo test -p tidegate contracts_page`.\n\n";

/// Regenerates the page: `TIDEGATE_BLESS=1 cargo test -p tidegate contracts_page`.
#[test]
fn contracts_page_matches_parser() {
    let path = format!("{DOCS}/contracts.md");
    let page = format!("{CONTRACTS_HEAD}{}", contract::reference_markdown());
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        fs::write(&path, &page).expect("written");
    }
    assert_eq!(fs::read_to_string(&path).expect("docs/contracts.md"), page, "bless it");
}

#[test]
fn all_problems_reported_at_once() {
    let text = EXAMPLE
        .replace("[listen]", "memroy = 1\n[listen]\ngatway = \"127.0.0.1:1\"")
        .replace("[shared]", "[local]\nmemory = \"5 parsecs\"\n[shared]\ntimeout = \"0s\"")
        .replace("staleness = \"30s\"", "stalenes = \"30s\"");
    let err = read(&text).expect_err("five mistakes");
    for (key, problem) in [
        ("memroy", "memroy: is not a known key"),
        ("gatway", "listen.gatway: is not a known key; did you mean `gateway`?"),
        ("memory =", "local.memory: `5 parsecs` is not a size; write a number"),
        ("timeout = \"0s\"", "shared.timeout: `0s` is out of range; write a number"),
        ("stalenes ", "data.product_price.stalenes: is not a known key; did you mean `staleness`?"),
    ] {
        let line = text.lines().position(|line| line.starts_with(key)).expect(key) + 1;
        assert!(err.contains(&format!("tidegate.toml: line {line}: {problem}")), "{err}");
    }
}

#[test]
fn syntax_error_shows_line_without_secrets() {
    let text = EXAMPLE.replace("6379\"", "6379\"\nsentinel_password = \"hunter2");
    let line = text.lines().position(|line| line.contains("hunter2")).expect("it is there") + 1;
    let err = read(&text).expect_err("no closing quote");
    assert!(err.contains(&format!("line {line}, column ")) && !err.contains("hunter2"), "{err}");
}

#[test]
fn invalid_route_named_by_index() {
    for (route, hint) in [
        ("path = \"p\"", "edge.route[0]: a path must start with `/`"),
        ("store = true", "edge.route[0].path: is missing"),
        ("path = \"/\"\nunproven = \"guess\"", "edge.route[0].unproven: `guess`"),
        ("path = \"/\"\nstaleness = \"soon\"", "edge.route[0].staleness: `soon`"),
        ("path = \"/\"\n[[edge.route]]\npath = \"/\"", "duplicate route"),
    ] {
        let err = read(&format!("{EXAMPLE}\n[[edge.route]]\n{route}")).expect_err(route);
        assert!(err.contains(hint), "{err}");
    }
}

#[test]
fn posted_events_require_secret_and_log() {
    let with = |events: &str| EXAMPLE.replace("[shared]", &format!("{events}\n[shared]"));
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8=";
    let good = format!("events = {{ from = \"debezium\", secret = \"{secret}\" }}");
    let config = read(&with(&good)).expect("good");
    let events = config.sources["shop"].events.as_ref().expect("events are configured");
    assert_eq!((events.slot.as_str(), events.beat), ("debezium", Duration::from_millis(250)));
    assert!(!format!("{config:?}").contains("MfKQ9r8G"), "the secret is not printed");
    for (events, hint) in [
        ("events = { from = \"debezium\" }".to_owned(), "secret"),
        (good.replace("debezium", "kafka"), "debezium"),
        (good.replace(secret, "whsec_AAAA"), "openssl rand -base64 32"),
        (good.replace(" }", ", beat = \"10s\" }"), "from 50ms to 5s"),
        (good.replace(" }", ", slto = \"x\" }"), "slot"),
        (format!("{good}\nslot = \"own\""), "events.slot"),
    ] {
        let err = read(&with(&events)).expect_err(&events);
        assert!(err.contains(hint), "{events}: {err}");
        assert!(!err.contains("AAAA"), "{err}");
    }
    let of =
        |events: &str, url: &str| with(events).replace("postgres://shop@127.0.0.1:5432/shop", url);
    let sqlite = of(&good, "sqlite:shop.db");
    assert!(read(&sqlite).expect_err("no log to read").contains("PostgreSQL"));
    let mariadb = |events: &str| read(&of(events, "mysql://shop@127.0.0.1:3306/shop"));
    let lock = mariadb(&format!("{good}\nslot = \"own\"")).expect("names the lock");
    assert_eq!(lock.sources["shop"].slot, "own");
    for name in ["slot", "publication"] {
        let named = good.replace(" }", &format!(", {name} = \"x\" }}"));
        let err = mariadb(&named).expect_err("MariaDB has none");
        assert!(err.contains(&format!("events.{name}")), "{err}");
    }
}
