//! Values of several tables: which entries a change of each of them invalidates, and which tags entries carry.

use contract::{
    Affected, Cell, Contract, Contracts, Evidence, JsonForms, Op, PageEvidence, Row, RowChange,
    Tag, TextForms, lint,
};

const OFFER: &str = r#"
key = "v1:catalog:offer:{id}"
value = """select p.name, c.cents * r.factor as cents, s.vat from products p
  join prices c on c.product_id = p.id join rates r on r.code = p.currency cross join settings s
  where p.id = $id"""
from = [
  { source = "shop", table = "products", columns = ["name"] },
  { table = "prices", key = "product_id", columns = ["cents"] },
  { table = "rates", tags = ["rate-{code}"], columns = ["factor"] },
  { table = "settings", entries = "all", columns = ["vat"] },
]
tags = ["rate-{currency}", "product-{id}"]
page_tags = ["row-{id}"]
staleness = "30s"
owner = "pricing"
"#;

const LIST: &str = r#"
key = "v1:catalog:category:{id}"
value = """select json_agg(c.cents) from products p join prices c on c.product_id = p.id
  where p.category_id = $id"""
from = [
  { source = "shop", table = "products", key = "category_id" },
  { table = "prices", tags = ["product-{product_id}"] },
]
tags = ["product-{row.id}"]
staleness = "30s"
owner = "catalogue"
"#;

const VARIANT: &str = r#"
key = "v1:catalog:price:{id}:{currency}:{locale}"
value = "select cents from prices where product_id = $id and currency = $currency and locale = $locale"
from = [
  { source = "shop", table = "prices", key = ["product_id", "currency"] },
  { table = "products", key = "id" },
  { table = "rates", tags = ["rate-{currency}"] },
]
tags = ["rate-{currency}"]
staleness = "30s"
owner = "pricing"
"#;

fn contract(text: &str) -> Contract {
    Contract::from_toml("offer", &text.parse().expect("well-formed")).expect("valid")
}

fn problem(text: &str) -> String {
    let parsed = Contract::from_toml("offer", &text.parse().expect("well-formed"));
    parsed.expect_err("refused").to_string()
}

fn row(cells: &[(&str, &str)]) -> Row {
    let cell = |text: &str| if text == "NULL" { Cell::Null } else { Cell::Text(text.to_owned()) };
    cells.iter().map(|(name, text)| (*name, cell(text))).collect()
}

fn update(table: &str, old: Option<&[(&str, &str)]>, new: &[(&str, &str)]) -> RowChange {
    RowChange {
        source: "shop".into(),
        table: table.into(),
        op: Op::Update,
        old: old.map(row),
        new: Some(row(new)),
        forms: JsonForms::default(),
    }
}

fn names(affected: &Affected) -> Vec<String> {
    let keys = affected.keys.iter().map(ToString::to_string);
    let tags = affected.tags.iter().map(ToString::to_string);
    let patterns = affected.key_patterns.iter().map(ToString::to_string);
    keys.chain(tags).chain(patterns).collect()
}

#[test]
fn joined_row_invalidates_by_key() {
    let moved = update(
        "prices",
        Some(&[("id", "9"), ("product_id", "1"), ("cents", "5")]),
        &[("id", "9"), ("product_id", "2"), ("cents", "5")],
    );
    let expected =
        ["v1:catalog:offer:1", "v1:catalog:offer:2", "product-1", "row-1", "product-2", "row-2"];
    assert_eq!(names(&contract(OFFER).affected(&moved)), expected);
    let same = [("product_id", "1"), ("cents", "5"), ("note", "a")];
    let note = update("prices", Some(&same), &[("product_id", "1"), ("cents", "5"), ("note", "b")]);
    assert!(contract(OFFER).affected(&note).is_empty(), "no watched column");
}

#[test]
fn joined_row_invalidates_by_tag() {
    let renamed = update(
        "rates",
        Some(&[("code", "EUR"), ("factor", "1")]),
        &[("code", "GBP"), ("factor", "1")],
    );
    assert_eq!(names(&contract(OFFER).affected(&renamed)), ["rate-EUR", "rate-GBP"]);
    // A partial old row does not say which entries had it.
    let unknown = update("rates", Some(&[("factor", "1")]), &[("code", "GBP"), ("factor", "2")]);
    let affected = contract(OFFER).affected(&unknown);
    assert!(names(&affected).contains(&"v1:catalog:offer:*".to_owned()), "{affected:?}");
    assert_eq!(affected.incomplete.len(), 1);
}

#[test]
fn row_of_all_entries_invalidates_them() {
    let change = update("settings", Some(&[("vat", "19")]), &[("vat", "20")]);
    let affected = contract(OFFER).affected(&change);
    assert_eq!(names(&affected), ["v1:catalog:offer:*"]);
    let change =
        update("settings", Some(&[("vat", "19"), ("a", "1")]), &[("vat", "19"), ("a", "2")]);
    assert!(contract(OFFER).affected(&change).is_empty(), "no watched column");
}

#[test]
fn list_carries_tags_of_each_row() {
    let list = contract(LIST);
    let rows =
        [row(&[("category_id", "7"), ("id", "1")]), row(&[("category_id", "7"), ("id", "2")])];
    assert_eq!(list.load_columns(), ["category_id", "id"]);
    let tags: Vec<String> = list
        .entry_tags(&list.item("7").expect("an id"), &rows)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(tags, ["product-1", "product-2"]);
    let price = update("prices", None, &[("product_id", "2"), ("cents", "6")]);
    assert_eq!(names(&list.affected(&price)), ["product-2"]);
    let moved = update(
        "products",
        Some(&[("id", "2"), ("category_id", "7")]),
        &[("id", "2"), ("category_id", "8")],
    );
    let expected = ["v1:catalog:category:7", "v1:catalog:category:8", "product-2"];
    assert_eq!(names(&list.affected(&moved)), expected);
}

#[test]
fn row_of_variant_invalidates_its_variants() {
    let price = contract(VARIANT);
    let item = price.item("42?currency=EUR&locale=de").expect("an item");
    let tags: Vec<String> = price.entry_tags(&item, &[]).iter().map(ToString::to_string).collect();
    assert_eq!(tags, ["rate-EUR", "v1:catalog:price:42:*:*", "v1:catalog:price:42:EUR:*"]);
    let row = |currency| [("product_id", "42"), ("currency", currency), ("locale", "de")];
    let change = update("prices", Some(&row("EUR")), &row("USD"));
    let expected =
        ["v1:catalog:price:42:EUR:*", "rate-EUR", "v1:catalog:price:42:USD:*", "rate-USD"];
    assert_eq!(names(&price.affected(&change)), expected);
    let null = update("prices", Some(&row("NULL")), &row("NULL"));
    assert_eq!(names(&price.affected(&null)), ["v1:catalog:price:42:*:*"]);
    let product = update("products", None, &[("id", "42")]);
    assert_eq!(names(&price.affected(&product)), ["v1:catalog:price:42:*:*"]);
    let rate = update("rates", None, &[("currency", "EUR")]);
    assert_eq!(names(&price.affected(&rate)), ["rate-EUR"]);
}

#[test]
fn whole_key_invalidates_one_variant() {
    let text =
        VARIANT.replace(r#"["product_id", "currency"]"#, r#"["product_id", "currency", "locale"]"#);
    let price = contract(&text);
    let row = |locale| [("product_id", "42"), ("currency", "EUR"), ("locale", locale)];
    let change = update("prices", Some(&row("de")), &row("fr"));
    let names = names(&price.affected(&change));
    assert_eq!(names, ["v1:catalog:price:42:EUR:de", "v1:catalog:price:42:EUR:fr", "rate-EUR"]);
    let item = price.item("42?currency=EUR&locale=de").expect("an item");
    let of_row = |locale| price.item_matches_row(&item, &self::row(&row(locale)));
    assert!(of_row("de") && !of_row("DE"));
}

#[test]
fn tables_without_way_to_entries_refused() {
    for (from, expected) in [
        (r#"{ table = "prices" }"#, "which entries its rows are part of"),
        (
            r#"{ table = "prices", key = "a", entries = "all" }"#,
            "which entries its rows are part of",
        ),
        (
            r#"{ table = "rates", tags = ["rates-{code}"] }"#,
            "no entry carries a tag such as `rates-{code}`",
        ),
        (r#"{ table = "rates", tags = ["rate-{a}-{b}"] }"#, "no entry carries"),
        (r#"{ table = "prices", key = ["a", "b"] }"#, "`b` is a column for a variant"),
        (r#"{ source = "stock", table = "stock", key = "a" }"#, "another source"),
        (r#"{ table = "prices", key = "a", entries = "some" }"#, "all"),
        (r#"{ table = "prices", key = [] }"#, "list"),
    ] {
        let text = format!(
            r#"key = "v1:catalog:offer:{{id}}"
            from = [{{ source = "shop", table = "products" }}, {from}]
            tags = ["rate-{{currency}}"]
            staleness = "30s""#
        );
        let problem = problem(&text);
        assert!(problem.contains(expected), "{from}: {problem}");
        assert!(problem.contains("data.offer.from[1]"), "{from}: {problem}");
    }
    let own = r#"key = "v1:a:b:{id}"
        from = { source = "shop", table = "products", entries = "all" }
        staleness = "1s""#;
    assert!(problem(own).contains("data.offer.from.entries"), "{}", problem(own));
    let dotted = "key = \"v1:a:b:{row.id}\"\nstaleness = \"1s\"";
    assert!(problem(dotted).contains("{row.id}"), "{}", problem(dotted));
}

#[test]
fn tables_survive_printing() {
    for text in [OFFER, LIST, VARIANT] {
        let contract = contract(text);
        let printed = contract.to_toml();
        assert_eq!(Contract::from_toml("offer", &printed).as_ref(), Ok(&contract));
    }
}

#[test]
fn each_table_is_part_of_the_mapping() {
    let mapping = |text: &str| contract(text).mapping_fingerprint();
    let mut seen = vec![mapping(OFFER)];
    for (old, new) in [
        ("key = \"product_id\"", "key = \"product\""),
        ("columns = [\"cents\"]", "columns = [\"cents\", \"b\"]"),
        ("tags = [\"rate-{code}\"]", "tags = [\"rate-{currency}\"]"),
        ("entries = \"all\"", "key = \"id\""),
    ] {
        seen.push(mapping(&OFFER.replace(old, new)));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 5);
    let composite = VARIANT.replace(r#"["product_id", "currency"]"#, r#""product_id""#);
    assert_ne!(mapping(VARIANT), mapping(&composite));
}

#[test]
fn renewed_and_filtered_only_from_one_table() {
    let text = "key = \"v1:a:b:{id}\"\nvalue = \"select a from products where id = $id\"\nstaleness = \"1s\"\n";
    let one = contract(&format!("{text}from = {{ source = \"shop\", table = \"products\" }}"));
    assert!(one.projection(contract::SqlDialect::Postgres).is_ok());
    let two = format!(
        "{text}from = [{{ source = \"shop\", table = \"products\" }}, {{ table = \"b\", entries = \"all\" }}]"
    );
    assert!(contract(&two).projection(contract::SqlDialect::Postgres).is_err());
}

/// A page that shows a value of several tables needs a tag that each of them raises.
#[test]
fn page_is_proven_by_tags_of_each_table() {
    let contracts = Contracts::new(vec![contract(OFFER)]).expect("one");
    let evidence = PageEvidence::new(&contracts, &["offer".into()], &TextForms::default());
    let tags = |tags: &[&str]| -> Vec<Tag> {
        tags.iter().map(|tag| Tag::parse(tag).expect("a tag")).collect()
    };
    assert_eq!(evidence.of(&tags(&["product-1"])), Evidence::Age, "rates raise no such tag");
    assert_eq!(evidence.of(&tags(&["rate-EUR"])), Evidence::Age, "prices raise no such tag");
    assert_eq!(evidence.of(&tags(&["product-1", "rate-EUR"])), Evidence::Log);
    assert_eq!(evidence.mappings(&tags(&["rate-EUR"])).len(), 1);
}

#[test]
fn linter_is_silent_when_all_tables_are_listed() {
    let rules = |text: &str| -> Vec<&str> {
        let contracts = Contracts::new(vec![contract(text)]).expect("one");
        lint(&contracts).iter().map(|finding| finding.rule).collect()
    };
    for text in [OFFER, LIST] {
        assert!(!rules(text).contains(&"value-reads-other-tables"), "{:?}", rules(text));
    }
    let without =
        OFFER.replace("  { table = \"settings\", entries = \"all\", columns = [\"vat\"] },\n", "");
    assert!(rules(&without).contains(&"value-reads-other-tables"), "{:?}", rules(&without));
    assert!(!rules(OFFER).contains(&"value-column-not-watched"), "{:?}", rules(OFFER));
    let unwatched = OFFER.replace("select p.name,", "select p.name, p.weight,");
    assert!(rules(&unwatched).contains(&"value-column-not-watched"), "{:?}", rules(&unwatched));
    let falls_back = VARIANT.replace("currency = $currency", "currency >= $currency");
    assert!(rules(&falls_back).contains(&"variant-not-of-row"), "{:?}", rules(&falls_back));
    assert!(!rules(VARIANT).contains(&"variant-not-of-row"), "{:?}", rules(VARIANT));
}

fn names_after(text: &str, change: &RowChange) -> Vec<String> {
    names(&contract(text).affected(change))
}

fn insert(table: &str, new: &[(&str, &str)]) -> RowChange {
    RowChange { op: Op::Insert, old: None, ..update(table, None, new) }
}

/// A value may depend on the absence of a row.
#[test]
fn inserted_and_deleted_rows_count() {
    let offers = ["v1:catalog:offer:1", "product-1", "row-1"];
    let new = insert("prices", &[("id", "9"), ("product_id", "1"), ("cents", "5")]);
    assert_eq!(names_after(OFFER, &new), offers);
    let deleted = RowChange { op: Op::Delete, old: new.new.clone(), new: None, ..new };
    assert_eq!(names_after(OFFER, &deleted), offers);
    let truncated = RowChange { op: Op::Truncate, old: None, ..deleted };
    assert!(names_after(OFFER, &truncated).contains(&"v1:catalog:offer:*".to_owned()));
}

#[test]
fn table_may_be_joined_with_itself() {
    let text = r#"
key = "v1:catalog:node:{id}"
value = "select p.name, c.name from nodes p join nodes c on c.parent_id = p.id where p.id = $id"
from = [{ source = "shop", table = "nodes" }, { table = "nodes", key = "parent_id" }]
staleness = "30s"
"#;
    let moved = update(
        "nodes",
        Some(&[("id", "5"), ("parent_id", "1")]),
        &[("id", "5"), ("parent_id", "2")],
    );
    let expected = ["v1:catalog:node:5", "v1:catalog:node:1", "v1:catalog:node:2"];
    assert_eq!(names_after(text, &moved), expected);
    let contracts = Contracts::new(vec![contract(text)]).expect("one");
    assert_eq!(contracts.mappings_of_table("shop", "public.nodes").count(), 2);
    assert_eq!(contracts.of_table("shop", "nodes").count(), 1);
}

/// Many to many: the table of the links is the contract's own, since its rows name both sides.
#[test]
fn rows_behind_a_table_of_links_are_reached_by_tags() {
    let text = r#"
key = "v1:books:author:{id}"
value = """select json_agg(b.title) from books_authors l join books b on b.id = l.book_id
  join authors a on a.id = l.author_id where l.author_id = $id"""
from = [
  { source = "shop", table = "books_authors", key = "author_id" },
  { table = "books", tags = ["book-{id}"] },
  { table = "authors", key = "id" },
]
tags = ["book-{book_id}"]
staleness = "30s"
"#;
    let author = contract(text);
    let rows = ["1", "2"].map(|book| row(&[("author_id", "7"), ("book_id", book)]));
    let tags = author.entry_tags(&author.item("7").expect("an id"), &rows);
    assert_eq!(tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["book-1", "book-2"]);
    assert_eq!(names_after(text, &update("books", None, &[("id", "2")])), ["book-2"]);
    assert_eq!(names_after(text, &update("authors", None, &[("id", "7")])), ["v1:books:author:7"]);
    let unlinked = RowChange {
        op: Op::Delete,
        old: Some(rows[0].clone()),
        new: None,
        ..insert("books_authors", &[])
    };
    assert_eq!(names_after(text, &unlinked), ["v1:books:author:7", "book-1"]);
}

/// The examples of the reference page are configurations without findings about their tables.
#[test]
fn documented_tables_are_valid() {
    let page = contract::reference_markdown();
    let examples = page.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let examples: Vec<&str> =
        examples.map(|(text, _)| text).filter(|text| text.contains("[data.")).collect();
    assert_eq!(examples.len(), 3);
    for text in examples {
        let config: toml::Table = text.parse().expect("well-formed");
        let data = config["data"].as_table().expect("contracts");
        let contracts = Contracts::from_toml(data).expect("valid");
        let rules: Vec<&str> = lint(&contracts).iter().map(|finding| finding.rule).collect();
        for rule in ["value-reads-other-tables", "value-column-not-watched"] {
            assert!(!rules.contains(&rule), "{rule}: {text}");
        }
    }
}
