//! The invalidations of a row change.

use contract::{Affected, Cell, Contract, Contracts, Image, JsonForms, Op, Row, RowChange};

const PRICE: &str = r#"
key = "v1:catalog:price:{id}"
from = { source = "shop", table = "products", key = "id", columns = ["price_cents"] }
tags = ["product-{id}", "category-{category_id}"]
staleness = "30s"
"#;

fn contract(text: &str) -> Contract {
    Contract::from_toml("price", &text.parse().expect("well-formed")).expect("valid")
}

fn row(cells: &[(&str, &str)]) -> Option<Row> {
    Some(cells.iter().map(|(name, text)| (*name, cell(text))).collect())
}

fn cell(text: &str) -> Cell {
    match text {
        "NULL" => Cell::Null,
        "TOAST" => Cell::Unchanged,
        _ => Cell::Text(text.to_owned()),
    }
}

fn change(op: Op, old: Option<Row>, new: Option<Row>) -> RowChange {
    RowChange {
        source: "shop".into(),
        table: "products".into(),
        op,
        old,
        new,
        forms: JsonForms::default(),
    }
}

fn keys(affected: &Affected) -> Vec<&str> {
    affected.keys.iter().map(contract::Key::as_str).collect()
}

fn tags(affected: &Affected) -> Vec<&str> {
    affected.tags.iter().map(contract::Tag::as_str).collect()
}

#[test]
fn insert_invalidates_cached_absence() {
    let new = row(&[("id", "42"), ("category_id", "7"), ("price_cents", "100")]);
    let affected = contract(PRICE).affected(&change(Op::Insert, None, new));
    assert_eq!(keys(&affected), ["v1:catalog:price:42"]);
    assert_eq!(tags(&affected), ["product-42", "category-7"]);
    assert!(!affected.everything && affected.incomplete.is_empty());
}

#[test]
fn move_invalidates_both_categories() {
    let old = row(&[("id", "42"), ("category_id", "7"), ("price_cents", "100")]);
    let new = row(&[("id", "42"), ("category_id", "8"), ("price_cents", "100")]);
    let affected = contract(PRICE).affected(&change(Op::Update, old, new));
    assert_eq!(keys(&affected), ["v1:catalog:price:42"]);
    assert_eq!(tags(&affected), ["product-42", "category-7", "category-8"]);
}

#[test]
fn changed_key_invalidates_both_keys() {
    let old = row(&[("id", "42")]);
    let new = row(&[("id", "43"), ("category_id", "7"), ("price_cents", "100")]);
    let affected = contract(PRICE).affected(&change(Op::Update, old, new));
    assert_eq!(keys(&affected), ["v1:catalog:price:42", "v1:catalog:price:43"]);
    assert_eq!(tags(&affected), ["product-42", "product-43", "category-7"]);
    assert_eq!(affected.incomplete.len(), 1, "the old category is unknown");
}

#[test]
fn unknown_old_row_counts_as_changed() {
    let new = row(&[("id", "42"), ("category_id", "7"), ("price_cents", "100")]);
    let affected = contract(PRICE).affected(&change(Op::Update, None, new));
    assert_eq!(keys(&affected), ["v1:catalog:price:42"]);
    assert_eq!(tags(&affected), ["product-42", "category-7"]);
    let [missing] = affected.incomplete.as_slice() else { panic!("{affected:?}") };
    assert_eq!(
        (missing.template.as_str(), missing.column.as_str()),
        ("category-{category_id}", "category_id")
    );
    assert_eq!(missing.image, Image::Old);
}

#[test]
fn update_of_other_columns_ignored() {
    let old = row(&[("id", "42"), ("category_id", "7"), ("price_cents", "100"), ("seen", "1")]);
    let new = row(&[("id", "42"), ("category_id", "7"), ("price_cents", "100"), ("seen", "2")]);
    assert!(contract(PRICE).affected(&change(Op::Update, old, new)).is_empty());
    let unknown_price = row(&[("id", "42"), ("category_id", "7")]);
    let affected =
        contract(PRICE).affected(&change(Op::Update, unknown_price.clone(), unknown_price));
    assert_eq!(keys(&affected), ["v1:catalog:price:42"], "an unknown column may have changed");
}

#[test]
fn without_columns_any_update_counts() {
    let any = contract(&PRICE.replace(", columns = [\"price_cents\"]", ""));
    let same = row(&[("id", "42"), ("category_id", "7"), ("price_cents", "100")]);
    assert_eq!(
        keys(&any.affected(&change(Op::Update, same.clone(), same))),
        ["v1:catalog:price:42"]
    );
}

#[test]
fn unchanged_toast_column_uses_old_row() {
    let old = row(&[("id", "42"), ("category_id", "7"), ("price_cents", "1")]);
    let new = row(&[("id", "42"), ("category_id", "TOAST"), ("price_cents", "2")]);
    let affected = contract(PRICE).affected(&change(Op::Update, old, new.clone()));
    assert_eq!(tags(&affected), ["product-42", "category-7"]);
    let affected = contract(PRICE).affected(&change(Op::Update, None, new));
    assert_eq!(tags(&affected), ["product-42"]);
    let images: Vec<_> = affected.incomplete.iter().map(|missing| missing.image).collect();
    assert_eq!(images, [Image::Old, Image::New]);
}

#[test]
fn delete_invalidates_known_names() {
    let affected = contract(PRICE).affected(&change(Op::Delete, row(&[("id", "42")]), None));
    assert_eq!(keys(&affected), ["v1:catalog:price:42"]);
    assert_eq!(tags(&affected), ["product-42"]);
    assert_eq!(affected.incomplete.len(), 1);
}

#[test]
fn whole_table_invalidates_patterns_of_its_contract() {
    let affected = contract(PRICE).affected(&change(Op::Truncate, None, None));
    let texts = |patterns: &[contract::Pattern]| {
        patterns.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(texts(&affected.key_patterns), ["v1:catalog:price:*"]);
    assert_eq!(texts(&affected.tag_patterns), ["product-*", "category-*"]);
    assert!(!affected.everything && affected.keys.is_empty() && affected.tags.is_empty());
    let fixed = contract(&PRICE.replace("product-{id}", "home")).affected_wholly();
    assert_eq!(tags(&fixed), ["home"]);
    let any = contract(&PRICE.replace("product-{id}", "{id}")).affected_wholly();
    assert!(any.everything, "any tag may be one of its");
}

/// A tag that is too long ends with a hash, after all of the fixed text.
#[test]
fn pattern_covers_shortened_tags() {
    let contract = contract(&PRICE.replace("product-{id}", "product-{id}-price"));
    let long = "x".repeat(300);
    for id in ["42", &long] {
        let new = row(&[("id", id), ("category_id", "7"), ("price_cents", "100")]);
        let affected = contract.affected(&change(Op::Insert, None, new));
        let patterns = contract.affected_wholly().tag_patterns;
        for tag in &affected.tags {
            let covered = patterns.iter().any(|pattern| pattern.matches(tag.as_str()));
            assert!(covered, "{tag}: {patterns:?}");
        }
    }
}

#[test]
fn unknown_key_invalidates_everything() {
    let keyless = contract(PRICE).affected(&change(Op::Delete, row(&[("sku", "x")]), None));
    assert!(keyless.everything, "without its key, the entry is invalidated with all others");
    assert!(contract(PRICE).affected(&change(Op::Insert, None, None)).everything);
}

#[test]
fn null_column_makes_no_tag() {
    let old = row(&[("id", "42"), ("category_id", "NULL"), ("price_cents", "1")]);
    let new = row(&[("id", "42"), ("category_id", "9"), ("price_cents", "1")]);
    let affected = contract(PRICE).affected(&change(Op::Update, old, new));
    assert_eq!(tags(&affected), ["product-42", "category-9"]);
    assert!(affected.incomplete.is_empty());
}

#[test]
fn other_table_and_source_ignored() {
    let new = row(&[("id", "42"), ("category_id", "7"), ("price_cents", "1")]);
    let mut other = change(Op::Insert, None, new);
    other.table = "public.products".into();
    assert_eq!(keys(&contract(PRICE).affected(&other)), ["v1:catalog:price:42"]);
    other.table = "archive.products".into();
    assert!(contract(PRICE).affected(&other).is_empty());
    other.table = "products".into();
    other.source = "erp".into();
    assert!(contract(PRICE).affected(&other).is_empty());
}

#[test]
fn tag_id_is_key_column() {
    let text = PRICE.replace("key = \"id\"", "key = \"product_id\"");
    let new = row(&[("id", "1"), ("product_id", "42"), ("category_id", "7"), ("price_cents", "1")]);
    let affected = contract(&text).affected(&change(Op::Insert, None, new));
    assert_eq!(keys(&affected), ["v1:catalog:price:42"]);
    assert_eq!(tags(&affected), ["product-42", "category-7"]);
}

#[test]
fn change_invalidates_all_variants_by_tag() {
    let text = contract(
        "key = \"v1:catalog:text:{tenant}:{id}:{locale}\"\nstaleness = \"1min\"\n\
         from = { source = \"shop\", table = \"products\", key = \"id\", tenant = \"shop_id\" }",
    );
    let cells = row(&[("id", "42"), ("shop_id", "acme")]);
    assert_eq!(text.tag_columns(), ["id", "shop_id"]);
    let on_fill = text.tags_for(cells.as_ref().expect("a row"));
    let affected = text.affected(&change(Op::Insert, None, cells));
    assert_eq!(affected.tags, on_fill);
    assert_eq!(tags(&affected), ["v1:catalog:text:acme:42:*"]);
    assert!(affected.keys.is_empty() && !affected.everything);
}

#[test]
fn fill_tags_equal_invalidated_tags() {
    let price = contract(PRICE);
    let cells = row(&[("id", "42"), ("category_id", "Kitchen & Café 100%")]);
    let filled = price.tags_for(cells.as_ref().expect("a row"));
    let affected = price.affected(&change(Op::Insert, None, cells));
    assert_eq!(filled, affected.tags);
    assert_eq!(tags(&affected)[1], "category-Kitchen%20&%20Caf%C3%A9%20100%25");
    let absent = price.tags_for(&row(&[("id", "42")]).expect("a row"));
    assert_eq!(absent.len(), 1, "an absent row has the tags of its id");
}

#[test]
fn contracts_merge_invalidations() {
    let name = "[data.name]\nkey = \"v1:catalog:name:{id}\"\nstaleness = \"1min\"\ntags = [\"product-{id}\"]\n\
                from = { source = \"shop\", table = \"public.products\" }\n[data.price]\n";
    let root: toml::Table = format!("{name}{PRICE}").parse().expect("well-formed");
    let set = Contracts::from_toml(root["data"].as_table().expect("a table")).expect("valid");
    let new = row(&[("id", "42"), ("category_id", "7"), ("price_cents", "1")]);
    let affected = set.affected(&change(Op::Insert, None, new));
    assert_eq!(keys(&affected), ["v1:catalog:name:42", "v1:catalog:price:42"]);
    assert_eq!(tags(&affected), ["product-42", "category-7"]);
    assert_eq!(set.tables("shop").len(), 1);
    let identity = set.get("price").expect("there").columns_outside_identity(&["id"]);
    assert_eq!(identity, ["category_id"]);
}

#[test]
fn page_tags_raised_by_any_column() {
    let text = PRICE.replace("staleness", "page_tags = [\"row-{id}\"]\nstaleness");
    let contract = contract(&text);
    let old = row(&[("id", "42"), ("category_id", "7"), ("price_cents", "1"), ("stock", "3")]);
    let new = row(&[("id", "42"), ("category_id", "7"), ("price_cents", "1"), ("stock", "2")]);
    let affected = contract.affected(&change(Op::Update, old.clone(), new));
    assert_eq!((keys(&affected), tags(&affected)), (vec![], vec!["row-42"]));
    let new = row(&[("id", "42"), ("category_id", "7"), ("price_cents", "2"), ("stock", "3")]);
    let affected = contract.affected(&change(Op::Update, old, new));
    assert_eq!(tags(&affected), ["product-42", "category-7", "row-42"]);
    assert_eq!(contract.tags_for(&row(&[("id", "42")]).expect("a row")).len(), 1, "not on entries");
}
