//! The configuration that the first users were promised, and the ways to get one wrong.

use std::time::Duration;

use contract::{
    Class, Contract, ContractError, Contracts, Sensitivity, Severity, Tiers, Unproven, lint_toml,
    presets, reference,
};

const PROMISED: &str = r#"
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

const LEAST: &str = "key = \"v1:catalog:thing:{id}\"\nstaleness = \"30s\"\n";

#[test]
fn the_promised_configuration_is_read_as_it_stands() {
    let contracts = Contracts::from_toml(&data(PROMISED)).expect("it is valid");
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
fn the_promised_configuration_passes_the_review_with_one_hint() {
    let findings = lint_toml(&data(PROMISED));
    let rules: Vec<_> = findings.iter().map(|finding| (finding.rule, finding.severity)).collect();
    assert_eq!(rules, [("replica-identity", Severity::Info)]);
    assert!(findings[0].fix.contains("ALTER TABLE products REPLICA IDENTITY FULL"));
}

#[test]
fn lifetimes_follow_the_budget() {
    let thing = one(LEAST).expect("it is valid");
    assert_eq!((thing.ttl, thing.absent_ttl), (Duration::from_secs(60), Duration::from_secs(60)));
    let slow = one("key = \"v1:a:b:{id}\"\nstaleness = \"6days\"").expect("it is valid");
    assert_eq!(slow.ttl, Duration::from_secs(7 * 86_400), "the safety net is capped at a week");
    assert_eq!(slow.absent_ttl, Duration::from_secs(60));
    let quick = one("key = \"v1:a:b:{id}\"\nstaleness = \"500ms\"").expect("it is valid");
    assert_eq!(quick.absent_ttl, Duration::from_secs(1));
    assert_eq!((quick.refresh.beta, quick.refresh.jitter), (1.0, 0.1));
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    let text = message(&format!("{LEAST}stalenes = \"1s\""));
    assert!(text.contains("data.thing.stalenes:"), "{text}");
    assert!(text.contains("did you mean `staleness`?"), "{text}");
    let text =
        message(&format!("{LEAST}from = {{ source = \"shop\", tabel = \"t\", table = \"t\" }}"));
    assert!(text.contains("data.thing.from.tabel") && text.contains("`table`"), "{text}");
    let text = message(&format!("{LEAST}budget = \"1s\""));
    assert!(text.contains("did you mean `staleness`?"), "{text}");
    let text = message(&format!("{LEAST}zzzzzzzz = 1"));
    assert!(text.contains("the reference lists all keys"), "{text}");
}

#[test]
fn every_problem_is_told_at_once_with_its_path_its_value_and_its_cure() {
    let text = message(
        "key = \"price:{id}\"\nstaleness = 30\nttl = \"soon\"\nunproven = \"read_origin\"\n\
         tiers = [\"lokal\"]\ntags = [\"a b\", 3]\njitter = 2\nmax_size = \"1 parsec\"\n\
         approved = { by = [], on = \"2026-11-02\" }\nsliding = \"yes\"",
    );
    for expected in [
        "data.thing.key: `price:{id}`: it has 2 of the four parts",
        "data.thing.staleness: is the number 30; write a duration with its unit, such as \"30s\"",
        "data.thing.ttl: `soon` is no duration",
        "did you mean \"read-origin\"?",
        "data.thing.tiers[0]: the text \"lokal\": there is no tier `lokal`",
        "data.thing.tags[0]",
        "data.thing.tags[1]: is the number 3",
        "data.thing.jitter: 2 is out of range; choose 0 to 0.5",
        "data.thing.max_size: the text \"1 parsec\" is no size",
        "data.thing.approved.by: names nobody",
        "data.thing.approved.on: is the text \"2026-11-02\"; write a date without quotes",
        "data.thing.sliding: is the text \"yes\"; write true or false",
    ] {
        assert!(text.contains(expected), "missing: {expected}\nin:\n{text}");
    }
}

#[test]
fn a_missing_budget_or_key_is_asked_for() {
    let text = message("owner = \"x\"");
    assert!(text.contains("data.thing.key: is missing"), "{text}");
    assert!(text.contains("data.thing.staleness: is missing"), "{text}");
    let text = message("key = \"v1:a:b:{id}\"\npreset = \"permissions\"");
    assert!(text.contains("decide with whoever approves it"), "{text}");
}

#[test]
fn presets_carry_the_agreed_budgets() {
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
fn what_a_contract_says_wins_over_its_preset() {
    let body = "key = \"v1:a:b:{id}\"\npreset = \"session\"\nstaleness = \"1h\"\nunproven = \"read-origin\"";
    let session = one(body).expect("it is valid");
    assert_eq!(
        (session.staleness, session.unproven),
        (Duration::from_secs(3600), Unproven::ReadOrigin)
    );
    assert_eq!(session.ttl, session.staleness, "a sliding entry lives as long as its budget");
}

#[test]
fn two_contracts_that_can_make_one_key_are_refused() {
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
fn a_contract_that_is_no_table_is_named() {
    let err = Contracts::from_toml(&data("[data]\nprice = 3")).expect_err("it is a number");
    assert!(err.to_string().contains("data.price: is the number 3, not a table"), "{err}");
}

#[test]
fn the_reference_has_every_key_once_and_presets_have_names() {
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
fn what_is_in_force_reads_back_as_itself() {
    let full = "preset = \"preferences\"\nkey = \"v3:user:prefs:{tenant}:{id}:{query|hash}\"\n\
                from = { source = \"shop\", table = \"app.prefs\", columns = [\"a\"] }\n\
                tags = [\"user-{id}\"]\nstaleness = \"1500ms\"\ntiers = [\"shared\"]\nmax_size = \"64KiB\"\n\
                retention = \"30days\"\nresidency = \"eu\"\njitter = 0\nid = \"uuid\"\n\
                approved = { by = [\"dpo\"], on = 2026-11-02 }";
    for body in [LEAST, full] {
        let contract = one(body).expect("it is valid");
        let written = contract.to_toml();
        let text = toml::to_string(&written).expect("a table can be written");
        assert_eq!(one(&text).expect("it reads back"), contract, "{text}");
    }
    let written = one(full).expect("it is valid").to_toml();
    assert_eq!(written["ttl"].as_str(), Some("3s"), "defaults are spelled out");
}

#[test]
fn every_key_of_the_reference_is_understood() {
    let full = format!(
        "{LEAST}preset = \"price\"\nvalue = \"select a from t where id = $id\"\n\
         from = {{ source = \"s\", table = \"t\" }}\nabsent_filter = true\n\
         owner = \"o\"\npager = \"p\"\nresidency = \"eu\"\nretention = \"1h\"\n\
         approved = {{ by = [\"x\"], on = 2026-11-02 }}"
    );
    let written = one(&full).expect("it is valid").to_toml();
    let service = format!("{LEAST}value = {{ http = \"http://pricing/{{id}}\" }}");
    let of_service = one(&service).expect("it is valid").to_toml();
    for doc in reference() {
        let mut value = None;
        let services = doc.key == "lag" || doc.key.starts_with("value.");
        let written = if services { &of_service } else { &written };
        for part in doc.key.split('.') {
            value = match value {
                None => written.get(part),
                Some(inner) => toml::Value::get(inner, part),
            };
            assert!(
                value.is_some(),
                "`{}` is documented, but not part of what is in force",
                doc.key
            );
        }
    }
}

#[test]
fn a_row_found_under_another_name_is_told_apart() {
    let price = Contracts::from_toml(&data(PROMISED)).expect("it is valid");
    let price = price.get("product_price").expect("it is there");
    let row = |id: &str| [("id", contract::Cell::Text(id.to_owned()))].into_iter().collect();
    assert!(price.names_row("abc", &row("abc")));
    assert!(!price.names_row("ABC", &row("abc")));
    assert_eq!(price.load_columns(), ["id", "category_id"]);
    assert_eq!(price.watched_columns(), ["id", "category_id", "price_cents", "currency"]);
}
