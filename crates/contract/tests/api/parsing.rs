//! Parsing contracts: an example, defaults, presets and errors.

use std::time::Duration;

use contract::{
    Class, Contract, ContractError, Contracts, Sensitivity, Severity, Tiers, Unproven, lint_toml,
    presets, reference,
};

const EXAMPLE: &str = r#"
[listen]
gateway = "127.0.0.1:8080"

[data.product_price]
key       = "v1:catalog:price:{id}"
value     = "select price_cents, currency from products where id = $id"
from      = { source = "shop", table = "products", key = "id", columns = ["price_cents", "currency"] }
tags      = ["product-{id}", "category-{category_id}"]
staleness = "30s"
unproven  = "read-origin"
owner     = "pricing"
approved  = { by = ["product", "finance"], on = 2026-11-02 }
"#;

fn data(text: &str) -> toml::Table {
    let root: toml::Table = text.parse().expect("the test's TOML is well-formed");
    root["data"].as_table().expect("there is a [data] table").clone()
}

fn one(body: &str) -> Result<Contract, ContractError> {
    let table = body.parse().expect("the test's TOML is well-formed");
    Contract::from_toml("thing", &table)
}

fn message(body: &str) -> String {
    one(body).expect_err("the contract is wrong").to_string()
}

const MINIMAL: &str = "key = \"v1:catalog:thing:{id}\"\nstaleness = \"30s\"\n";

#[test]
fn example_is_parsed() {
    let contracts = Contracts::from_toml(&data(EXAMPLE)).expect("it is valid");
    let price = contracts.get("product_price").expect("it is there");
    assert_eq!(price.key("42").expect("a plain id").as_str(), "v1:catalog:price:42");
    assert_eq!(price.staleness, Duration::from_secs(30));
    assert_eq!(price.ttl, Duration::from_secs(60));
    assert_eq!(price.unproven, Unproven::ReadOrigin);
    assert_eq!(price.tiers, Tiers::ALL);
    assert_eq!(price.tag_columns(), ["id", "category_id"]);
    let from = price.from.as_ref().expect("it has an origin");
    assert_eq!(
        (from.source.as_str(), from.table.as_str(), from.key.as_str()),
        ("shop", "products", "id")
    );
    let approval = price.approved.as_ref().expect("it is approved");
    assert_eq!(approval.by, ["product", "finance"]);
    assert_eq!(approval.on.to_string(), "2026-11-02");
    assert_eq!(contracts.tables("shop"), ["products"]);
}

#[test]
fn example_has_one_hint() {
    let findings = lint_toml(&data(EXAMPLE));
    let rules: Vec<_> = findings.iter().map(|finding| (finding.rule, finding.severity)).collect();
    assert_eq!(rules, [("replica-identity", Severity::Info)]);
    assert!(findings[0].fix.contains("ALTER TABLE products REPLICA IDENTITY FULL"));
}

#[test]
fn default_ttls_follow_budget() {
    let thing = one(MINIMAL).expect("it is valid");
    assert_eq!((thing.ttl, thing.absent_ttl), (Duration::from_secs(60), Duration::from_secs(60)));
    let slow = one("key = \"v1:a:b:{id}\"\nstaleness = \"6days\"").expect("it is valid");
    assert_eq!(slow.ttl, Duration::from_secs(7 * 86_400), "the safety net is capped at a week");
    assert_eq!(slow.absent_ttl, Duration::from_secs(60));
    let quick = one("key = \"v1:a:b:{id}\"\nstaleness = \"500ms\"").expect("it is valid");
    assert_eq!(quick.absent_ttl, Duration::from_secs(1));
    assert_eq!((quick.refresh.beta, quick.refresh.jitter), (1.0, 0.1));
}

#[test]
fn unknown_key_names_nearest() {
    let text = message(&format!("{MINIMAL}stalenes = \"1s\""));
    assert!(text.contains("data.thing.stalenes:"), "{text}");
    assert!(text.contains("did you mean `staleness`?"), "{text}");
    let text =
        message(&format!("{MINIMAL}from = {{ source = \"shop\", tabel = \"t\", table = \"t\" }}"));
    assert!(text.contains("data.thing.from.tabel") && text.contains("`table`"), "{text}");
    let text = message(&format!("{MINIMAL}budget = \"1s\""));
    assert!(text.contains("did you mean `staleness`?"), "{text}");
    let text = message(&format!("{MINIMAL}zzzzzzzz = 1"));
    assert!(text.contains("the reference lists all keys"), "{text}");
}

#[test]
fn all_problems_reported_at_once() {
    let text = message(
        "key = \"price:{id}\"\nstaleness = 30\nttl = \"soon\"\nunproven = \"read_origin\"\n\
         tiers = [\"lokal\"]\ntags = [\"a b\", 3]\njitter = 2\nmax_size = \"1 parsec\"\n\
         approved = { by = [], on = \"2026-11-02\" }\nsliding = \"yes\"",
    );
    for expected in [
        "data.thing.key: `price:{id}`: it has 2 of the four parts",
        "data.thing.staleness: is the number 30; write a number and a unit, such as \"500ms\", \"30s\", \
         \"5min\", \"24h\" or \"7days\", at most 10years",
        "data.thing.ttl: `soon` is not a duration",
        "did you mean \"read-origin\"?",
        "data.thing.tiers[0]: `lokal` is not a known value; did you mean \"local\"? The values are: \
         local, shared",
        "data.thing.tags[0]",
        "data.thing.tags[1]: is the number 3",
        "data.thing.jitter: 2 is out of range; choose 0 to 0.5",
        "data.thing.max_size: `1 parsec` is not a size; write a number and a unit (B, kB, MB, GB, KiB, \
         MiB, GiB), such as \"64KiB\", or a number of bytes, at least 1B",
        "data.thing.approved.by: has no name",
        "data.thing.approved.on: is the text \"2026-11-02\"; write a date without quotes",
        "data.thing.sliding: is the text \"yes\"; write true or false",
    ] {
        assert!(text.contains(expected), "missing: {expected}\nin:\n{text}");
    }
}

#[test]
fn missing_budget_and_key_reported() {
    let text = message("owner = \"x\"");
    assert!(text.contains("data.thing.key: is missing"), "{text}");
    assert!(text.contains("data.thing.staleness: is missing"), "{text}");
    let text = message("key = \"v1:a:b:{id}\"\npreset = \"permissions\"");
    assert!(text.contains("agree with the approver"), "{text}");
}

#[test]
fn presets_set_budgets() {
    let of = |preset: &str| {
        one(&format!("key = \"v1:a:b:{{id}}\"\npreset = \"{preset}\"")).expect("a complete preset")
    };
    let secs = Duration::from_secs;
    for never in ["inventory", "payment-status"] {
        assert!(!of(never).is_cached(), "{never} must never be cached");
    }
    assert_eq!((of("price").staleness, of("price").unproven), (secs(30), Unproven::ReadOrigin));
    for five in ["description", "catalogue", "recommendations"] {
        assert_eq!((of(five).staleness, of(five).unproven), (secs(300), Unproven::ServeStale));
    }
    assert_eq!(of("recommendations").priority, Class::Ephemeral);
    let session = of("session");
    assert_eq!(
        (session.ttl, session.sliding, session.unproven),
        (secs(86_400), true, Unproven::Fail)
    );
    assert_eq!(of("preferences").staleness, secs(3_600));
    assert_eq!(of("engagement").staleness, secs(30));
    let fixed = of("static");
    assert_eq!((fixed.ttl, fixed.immutable), (secs(365 * 86_400), true));
    for closed in ["permissions", "auth", "financial"] {
        let body = format!("key = \"v1:a:b:{{id}}\"\npreset = \"{closed}\"\nstaleness = \"1s\"");
        let contract = one(&body).expect("it has a budget");
        assert_eq!(
            (contract.unproven, contract.tiers),
            (Unproven::Fail, Tiers::SHARED),
            "{closed}"
        );
        assert_ne!(contract.sensitivity, Sensitivity::Public);
    }
}

#[test]
fn contract_overrides_preset() {
    let body = "key = \"v1:a:b:{id}\"\npreset = \"session\"\nstaleness = \"1h\"\nunproven = \"read-origin\"";
    let session = one(body).expect("it is valid");
    assert_eq!(
        (session.staleness, session.unproven),
        (Duration::from_secs(3600), Unproven::ReadOrigin)
    );
    assert_eq!(session.ttl, session.staleness, "the TTL of a sliding entry is its budget");
}

#[test]
fn clashing_keys_rejected() {
    let text = "[data.a]\nkey = \"v1:shop:x:{id}\"\nstaleness = \"1s\"\n\
                [data.b]\nkey = \"v1:shop:x:{id}\"\nstaleness = \"1s\"";
    let err = Contracts::from_toml(&data(text)).expect_err("they clash");
    assert!(
        err.to_string().contains("can make the same keys as `v1:shop:x:{id}` of data.a"),
        "{err}"
    );
    let apart = text.replacen("v1:shop:x", "v2:shop:x", 1);
    assert!(Contracts::from_toml(&data(&apart)).is_ok());
}

#[test]
fn contract_without_table_rejected() {
    let err = Contracts::from_toml(&data("[data]\nprice = 3")).expect_err("it is a number");
    assert!(err.to_string().contains("data.price: is the number 3, not a table"), "{err}");
}

#[test]
fn reference_lists_every_key_once() {
    let keys: Vec<_> = reference().into_iter().map(|doc| doc.key).collect();
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[..at].contains(key), "{key} is there twice");
    }
    let json = serde_json::to_value(reference()).expect("it is plain data");
    assert_eq!(json[0]["type"], "name of a preset");
    let page = contract::reference_markdown();
    for name in keys.iter().copied().chain(presets().iter().map(|preset| preset.name)) {
        assert!(page.contains(&format!("\n| `{name}` |")), "{name}");
    }
    assert!(presets().iter().all(|preset| !preset.name.is_empty() && !preset.doc.is_empty()));
}

#[test]
fn printed_contract_parses_back() {
    let full = "preset = \"preferences\"\nkey = \"v3:user:prefs:{tenant}:{id}:{query|hash}\"\n\
                from = { source = \"shop\", table = \"app.prefs\", columns = [\"a\"] }\n\
                tags = [\"user-{id}\"]\nstaleness = \"1500ms\"\ntiers = [\"shared\"]\nmax_size = \"64KiB\"\n\
                retention = \"30days\"\nresidency = \"eu\"\njitter = 0\nid = \"uuid\"\n\
                approved = { by = [\"dpo\"], on = 2026-11-02 }";
    for body in [MINIMAL, full] {
        let contract = one(body).expect("it is valid");
        let written = contract.to_toml();
        let text = toml::to_string(&written).expect("a table can be written");
        assert_eq!(one(&text).expect("it reads back"), contract, "{text}");
    }
    let written = one(full).expect("it is valid").to_toml();
    assert_eq!(written["ttl"].as_str(), Some("3s"), "defaults are printed");
}

#[test]
fn every_reference_key_is_printed() {
    let full = format!(
        "{MINIMAL}preset = \"price\"\nvalue = \"select a from t where id = $id\"\n\
         from = {{ source = \"s\", table = \"t\" }}\nabsent_filter = true\n\
         owner = \"o\"\npager = \"p\"\nresidency = \"eu\"\nretention = \"1h\"\n\
         approved = {{ by = [\"x\"], on = 2026-11-02 }}"
    );
    let written = one(&full).expect("it is valid").to_toml();
    let service = format!("{MINIMAL}value = {{ http = \"http://pricing/{{id}}\" }}");
    let of_service = one(&service).expect("it is valid").to_toml();
    let timed = format!(
        "{MINIMAL}value = \"select a from t where id = $id\"\nchanges_at = \"select b from t where id = $id\""
    );
    let of_timed = one(&timed).expect("it is valid").to_toml();
    let joined = format!(
        "{MINIMAL}tags = [\"a-{{a}}\"]\nfrom = [{{ source = \"s\", table = \"t\" }}, \
         {{ table = \"u\", tags = [\"a-{{b}}\"] }}, {{ table = \"v\", entries = \"all\" }}]"
    );
    let of_joined = one(&joined).expect("it is valid").to_toml();
    for doc in reference() {
        if let Some(key) =
            doc.key.strip_prefix("from.").filter(|key| matches!(*key, "tags" | "entries"))
        {
            let tables = of_joined["from"].as_array().expect("a list");
            assert!(tables.iter().any(|table| table.get(key).is_some()), "{key}");
            continue;
        }
        let mut value = None;
        let services = doc.key == "lag" || doc.key.starts_with("value.");
        let written = match doc.key {
            "changes_at" => &of_timed,
            _ if services => &of_service,
            _ => &written,
        };
        for part in doc.key.split('.') {
            value = match value {
                None => written.get(part),
                Some(inner) => toml::Value::get(inner, part),
            };
            assert!(value.is_some(), "`{}` is documented, but not printed", doc.key);
        }
    }
}

#[test]
fn row_with_other_id_detected() {
    let price = Contracts::from_toml(&data(EXAMPLE)).expect("it is valid");
    let price = price.get("product_price").expect("it is there");
    let row = |id: &str| [("id", contract::Cell::Text(id.to_owned()))].into_iter().collect();
    assert!(price.item_matches_row(&price.item("abc").expect("an id"), &row("abc")));
    assert!(!price.item_matches_row(&price.item("ABC").expect("an id"), &row("abc")));
    assert_eq!(price.load_columns(), ["id", "category_id"]);
    assert_eq!(price.watched_columns(), ["id", "category_id", "price_cents", "currency"]);
}
