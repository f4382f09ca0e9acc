use super::*;

const SHOP: &str = r#"
[price]
key = "v1:shop:price:{id}"
from = { source = "shop", table = "products", columns = ["price"] }
tags = ["product-{id}"]
value = "select price from products where id = $id"
staleness = "60s"
[stock]
key = "v1:shop:stock:{id}"
from = { source = "shop", table = "stock", key = "product_id" }
tags = ["product-{id}", "depot-{depot}"]
value = "select level from stock where product_id = $id"
staleness = "60s"
[text]
key = "v1:shop:text:{id}"
from = { source = "shop", table = "texts" }
value = "select body from texts where id = $id"
staleness = "60s"
"#;

fn contracts(text: &str) -> Contracts {
    Contracts::from_toml(&text.parse().expect("TOML")).expect("valid")
}

/// Returns mapping and definition of `price` after an edit of its text.
fn price(from: &str, to: &str) -> (Option<u64>, u64) {
    assert!(SHOP.contains(from), "{from}");
    let contracts = contracts(&SHOP.replacen(from, to, 1));
    let price = contracts.get("price").expect("there");
    (price.mapping_fingerprint(), price.definition_fingerprint())
}

#[test]
fn edits_change_the_right_fingerprint() {
    let before = price("60s", "60s");
    for (from, to) in [("60s", "5s"), ("\"products\"", "\"public.products\"")] {
        assert_eq!(price(from, to), before, "{to}");
    }
    let (mapping, definition) = price("select price from", "select price, currency from");
    assert_eq!(mapping, before.0, "the same changes invalidate it");
    assert_ne!(definition, before.1);
    for (from, to) in [
        ("[\"price\"]", "[\"price\", \"currency\"]"),
        ("[\"product-{id}\"]", "[\"product-{id}\", \"brand-{brand}\"]"),
        ("table = \"products\"", "table = \"items\""),
        ("v1:shop:price:{id}", "v2:shop:price:{id}"),
    ] {
        let (mapping, definition) = price(from, to);
        assert_ne!(mapping, before.0, "{to}");
        assert_ne!(definition, before.1, "{to}");
    }
}

#[test]
fn entries_depend_on_mappings_that_raise_their_tags() {
    let contracts = contracts(SHOP);
    let of = |name: &str| contracts.get(name).expect("there");
    let mapping = |name: &str| of(name).mapping_fingerprint().expect("it has a table");
    let both = BTreeSet::from([mapping("price"), mapping("stock")]);
    assert_eq!(contracts.mappings_of_entries(of("price")), both);
    assert_eq!(contracts.mappings_of_entries(of("text")), BTreeSet::from([mapping("text")]));
    assert_eq!(contracts.mappings_of_pages(), both);
    assert_eq!(contracts.mappings().len(), 3);
}
