//! Contracts whose values come from a service.

use contract::{Contract, Evidence, Finding, HeaderText, Severity, lint_toml};

const PRICE: &str = r#"
key = "v1:pricing:price:{id}"
value = { http = "http://pricing:8080/prices/{id}" }
from = { source = "shop", table = "products" }
tags = ["product-{id}"]
staleness = "30s"
lag = "200ms"
owner = "pricing"
approved = { by = ["product"], on = 2026-11-02 }
"#;

fn table(edit: impl Fn(String) -> String) -> toml::Table {
    edit(PRICE.to_owned()).parse().expect("well-formed")
}

fn read(edit: impl Fn(String) -> String) -> Result<Contract, String> {
    Contract::from_toml("price", &table(edit)).map_err(|err| err.to_string())
}

fn review(edit: impl Fn(String) -> String) -> Vec<Finding> {
    lint_toml(&[("price".to_owned(), toml::Value::Table(table(edit)))].into_iter().collect())
}

fn rules(edit: impl Fn(String) -> String) -> Vec<(Severity, &'static str)> {
    review(edit).into_iter().map(|finding| (finding.severity, finding.rule)).collect()
}

fn without_from(text: String) -> String {
    text.replace("from =", "# from =")
}

#[test]
fn address_names_the_variants_of_the_key() {
    let with = |key: &str, address: &str| {
        read(|text| {
            text.replace("price:{id}\"", &format!("price:{{id}}{key}\""))
                .replace("prices/{id}", &format!("prices/{{id}}{address}"))
        })
    };
    let contract = with(":{currency}", "?currency={currency}").expect("valid");
    assert!(contract.takes_variants());
    let item = contract.item("42?currency=GBP").expect("an item");
    let url = &contract.service.as_ref().expect("a service").url;
    assert_eq!(url.target(&item.parameters()), Ok("/prices/42?currency=GBP".to_owned()));
    let refused = |key, address| with(key, address).expect_err("refused");
    assert!(refused(":{currency}", "").contains("the address has no `{currency}`"));
    assert!(refused("", "?currency={currency}").contains("`{currency}` is not part of the key"));
    assert!(refused(":{currency}", "?c={curency}").contains("`{curency}` is not part"));
}

#[test]
fn service_parses_and_prints() {
    let contract = read(|text| {
        text.replace(
            "{id}\" }",
            "{id}\", timeout = \"500ms\", connections = 8, types = [\"text/html\"], \
             max_body = \"1MiB\", headers = [\"Accept-Language: en\", \"X-Key: $PRICING_KEY\"] }",
        )
    })
    .expect("valid");
    let service = contract.service.as_ref().expect("a service");
    assert_eq!(service.url.authority(), "pricing:8080");
    assert_eq!((service.timeout.as_millis(), service.connections), (500, 8));
    assert_eq!(
        (service.types.as_slice(), service.max_body_bytes),
        (&["text/html".into()][..], 1 << 20)
    );
    assert_eq!(service.headers[1].value, HeaderText::Env("PRICING_KEY".into()));
    assert_eq!(contract.lag.as_millis(), 200);
    assert!(contract.value.is_none() && !contract.write_through && !contract.renews());
    let text = toml::to_string(&contract.to_toml()).expect("it can be written");
    let again = Contract::from_toml("price", &text.parse().expect("well-formed"));
    assert_eq!(again.expect("it reads back"), contract, "{text}");
}

#[test]
fn evidence_follows_from_contract() {
    let evidence = |edit: &dyn Fn(String) -> String| read(edit).expect("valid").evidence();
    let sql = |text: String| {
        let text = text.replace("lag = \"200ms\"\n", "");
        text.replace(
            "{ http = \"http://pricing:8080/prices/{id}\" }",
            "\"select price from products where id = $id\"",
        )
    };
    assert_eq!(evidence(&|text| text), Evidence::Lease);
    assert_eq!(evidence(&without_from), Evidence::Age);
    assert_eq!(evidence(&sql), Evidence::Log);
    assert_eq!(
        evidence(&|text| text.replace("value =", "# value =")),
        Evidence::Lease,
        "a function"
    );
    assert_eq!(evidence(&|text| without_from(text) + "immutable = true"), Evidence::Log);
}

#[test]
fn unsupported_service_keys_rejected() {
    let sql = "\"select price from products where id = $id\"";
    let service = "{ http = \"http://pricing:8080/prices/{id}\" }";
    for (from, to, path, expected) in [
        ("http://", "ftp://", "data.price.value.http", "starts with `http://`"),
        ("prices/{id}\"", "prices\"", "data.price.value.http", "`{id}` is missing"),
        ("http =", "htp =", "data.price.value.htp", "did you mean `http`"),
        ("{id}\" }", "{id}\", timeout = \"0s\" }", "data.price.value.timeout", "at most 1m"),
        ("{id}\" }", "{id}\", connections = 0 }", "data.price.value.connections", "1 to 1024"),
        ("{id}\" }", "{id}\", connections = 1.5 }", "data.price.value.connections", "whole"),
        ("{id}\" }", "{id}\", types = [\"json\"] }", "data.price.value.types[0]", "text/html"),
        (
            "{id}\" }",
            "{id}\", headers = [\"Host: x\"] }",
            "data.price.value.headers[0]",
            "Tidegate sets",
        ),
        ("\"200ms\"", "\"11s\"", "data.price.lag", "at most 10s"),
        ("owner", "write_through = true\nowner", "data.price.write_through", "remove it"),
        ("owner", "absent_filter = true\nowner", "data.price.absent_filter", "remove it"),
        (service, sql, "data.price.lag", "remove it"),
    ] {
        let err = read(|text| text.replace(from, to)).expect_err(to);
        assert!(err.contains(path) && err.contains(expected), "{to}: {err}");
    }
    let err =
        read(|text| without_from(text) + "sliding = true\n").expect_err("age is the only evidence");
    assert!(err.contains("data.price.sliding") && err.contains("never the proof"), "{err}");
    assert!(read(|text| text + "sliding = true\nretention = \"1day\"\n").is_ok());
}

#[test]
fn lint_reviews_services() {
    assert_eq!(rules(|text| text), []);
    assert_eq!(
        rules(|text| text.replace("lag = \"200ms\"", "")),
        [(Severity::Info, "service-lag-unsaid")]
    );
    assert_eq!(
        rules(|text| text.replace("\"30s\"", "\"200ms\"")),
        [(Severity::Error, "lag-over-budget")]
    );
    assert_eq!(rules(without_from), [(Severity::Info, "nothing-invalidates")]);
    assert_eq!(
        rules(|text| without_from(text).replace("\"30s\"", "\"500ms\"")),
        [(Severity::Warning, "service-asked-always"), (Severity::Info, "nothing-invalidates")]
    );
    let tagged = |text: String| text.replace("product-{id}", "category-{category_id}");
    assert!(rules(tagged).contains(&(Severity::Warning, "service-tags-unknown")));
    let key = |text: String| text.replace("{id}\" }", "{id}\", headers = [\"X-Api-Key: 4711\"] }");
    let found = review(key);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.severity, finding.rule), (Severity::Error, "secret-in-contract"));
    assert!(!finding.to_string().contains("4711") && finding.fix.contains("X-Api-Key: $"));
}
