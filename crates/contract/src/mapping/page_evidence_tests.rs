use proptest::prelude::*;

use super::*;
use crate::mapping::row::{Cell, JsonForms, Op, Row, RowChange};

const SHOP: &str = r#"
[product]
key = "v1:shop:product:{id}"
from = { source = "shop", table = "products" }
tags = ["product-{id}", "category-{category}"]
staleness = "60s"
[price]
key = "v1:shop:price:{id}"
from = { source = "shop", table = "products", columns = ["price"] }
tags = ["price-{id}", "all-{category}"]
page_tags = ["row-{id}"]
staleness = "60s"
[stock]
key = "v1:shop:stock:{id}"
from = { source = "shop", table = "public.stock", columns = ["level"] }
tags = ["stock-{id}", "all-{category}"]
staleness = "60s"
[texts]
key = "v1:shop:texts:{id}"
tags = ["text-{id}"]
staleness = "60s"
"#;

fn contracts() -> Contracts {
    Contracts::from_toml(&SHOP.parse().expect("TOML")).expect("valid")
}

fn rules(shown: &[&str]) -> PageEvidence {
    let shown: Vec<String> = shown.iter().map(|name| (*name).to_owned()).collect();
    PageEvidence::new(&contracts(), &shown, &TextForms::default())
}

fn tags(text: &str) -> Vec<Tag> {
    text.split_whitespace().map(|tag| Tag::parse(tag).expect("a tag")).collect()
}

#[test]
fn weakest_tag_is_the_evidence() {
    for (page, evidence) in [
        ("", Evidence::Age),
        ("product-42", Evidence::Log),
        ("product-42 category-7", Evidence::Log),
        ("row-42", Evidence::Log),
        ("price-42", Evidence::Age),
        ("row-42 price-42", Evidence::Age),
        // No log raises the tags of a contract without `from`.
        ("text-42", Evidence::Age),
        ("banner", Evidence::Age),
        ("product-", Evidence::Age),
        ("product-042", Evidence::Age),
    ] {
        assert_eq!(rules(&[]).of(&tags(page)), evidence, "{page}");
    }
    let page = tags("product-42 price-42 banner");
    let names: Vec<&str> = rules(&[]).unproven(&page).into_iter().map(Tag::as_str).collect();
    assert_eq!(names, ["price-42", "banner"]);
}

#[test]
fn shown_contracts_prove_partial_tags() {
    for (shown, page, evidence) in [
        (&["price"][..], "price-42", Evidence::Log),
        (&["price"], "stock-42", Evidence::Age),
        (&["price", "stock"], "price-42 stock-42", Evidence::Log),
        (&["price", "stock"], "all-7", Evidence::Log),
        // The stock raises no tag of this page.
        (&["price", "stock"], "price-42", Evidence::Age),
        (&["price"], "price-42 banner", Evidence::Age),
        (&["price"], "", Evidence::Age),
    ] {
        assert_eq!(rules(shown).of(&tags(page)), evidence, "{shown:?}: {page}");
    }
}

#[test]
fn template_without_fixed_text_proves_nothing() {
    let text = SHOP.replace("\"product-{id}\"", "\"{id}\"");
    let contracts = Contracts::from_toml(&text.parse().expect("TOML")).expect("valid");
    assert_eq!(
        PageEvidence::new(&contracts, &[], &TextForms::default()).of(&tags("42")),
        Evidence::Age
    );
}

#[test]
fn tag_in_another_text_proves_nothing() {
    let mut forms = TextForms::default();
    forms.insert("shop", "public.products", "id", TextForm::Integer);
    forms.insert("shop", "products", "category", TextForm::Boolean);
    let rules = PageEvidence::new(&contracts(), &[], &forms);
    for (page, evidence, misspelt) in [
        ("product-42 category-t", Evidence::Log, None),
        ("category-true", Evidence::Age, Some(("category-true", "category-{category}"))),
        // The log writes `t`, and `ü` with upper-case digits.
        ("category-%74", Evidence::Age, Some(("category-%74", "category-{category}"))),
        ("product-%34%32", Evidence::Age, Some(("product-%34%32", "product-{id}"))),
        ("product-%c3%bc", Evidence::Age, Some(("product-%c3%bc", "product-{id}"))),
        ("product-+42", Evidence::Age, Some(("product-+42", "product-{id}"))),
        ("row-042", Evidence::Age, Some(("row-042", "row-{id}"))),
        ("row-42%20", Evidence::Age, Some(("row-42%20", "row-{id}"))),
        // `all-{category}` of the stock is of another table, whose types are not known.
        ("all-true", Evidence::Age, None),
        ("banner", Evidence::Age, None),
    ] {
        let page_tags = tags(page);
        assert_eq!(rules.of(&page_tags), evidence, "{page}");
        let found = rules.misspelt(&page_tags);
        assert_eq!(found.map(|(tag, by)| (tag.as_str(), by.as_str())), misspelt, "{page}");
    }
    assert_ne!(rules.digest(), self::rules(&[]).digest());
}

#[test]
fn tables_covered_by_proven_tags() {
    let page = tags("row-42 stock-42");
    assert!(rules(&[]).covers_table(&page, "products"));
    assert!(rules(&[]).covers_table(&page, "public.products"));
    assert!(!rules(&[]).covers_table(&page, "stock"), "only its level counts");
    assert!(rules(&["stock"]).covers_table(&page, "stock"));
}

#[test]
fn digest_names_the_rules() {
    assert_eq!(rules(&["price"]).digest(), rules(&["price"]).digest());
    assert_ne!(rules(&["price"]).digest(), rules(&[]).digest());
    let narrower =
        SHOP.replace("table = \"products\" }", "table = \"products\", columns = [\"a\"] }");
    let narrower = Contracts::from_toml(&narrower.parse().expect("TOML")).expect("valid");
    assert_ne!(
        PageEvidence::new(&narrower, &[], &TextForms::default()).digest(),
        rules(&[]).digest()
    );
}

fn row(cells: &[(&str, &str)]) -> Row {
    cells.iter().map(|(name, text)| (*name, Cell::Text((*text).to_owned()))).collect()
}

proptest! {
    /// Where the log is the evidence of a page made of a row, an update of any column raises one of its tags.
    #[test]
    fn any_update_raises_a_proven_page(
        id in "[1-9][0-9]{0,3}|[a-z]{1,4}",
        category in "[0-9]|[a-zé ]{1,4}",
        column in 0..3_usize,
        chosen in prop::collection::vec(0..5_usize, 0..4),
    ) {
        let names = ["product", "category", "price", "all", "row"];
        let page: Vec<Tag> = chosen
            .iter()
            .map(|at| {
                let contracts = contracts();
                let all = contracts.iter().flat_map(|contract| {
                    contract.tags.iter().chain(&contract.page_tags).cloned().collect::<Vec<_>>()
                });
                let mut all = all.filter(|template| template.as_str().starts_with(names[*at]));
                let value = |name: &str| Some(if name == "id" { &*id } else { &*category });
                all.next().expect("a template").tag(value).expect("values")
            })
            .collect();
        let old =
            [("id", &*id), ("category", &*category), ("price", "1"), ("name", "a"), ("size", "s")];
        let mut new = old;
        new[2 + column].1 = "changed";
        let change = RowChange {
            source: "shop".into(),
            table: "products".into(),
            op: Op::Update,
            old: Some(row(&old)),
            new: Some(row(&new)),
            forms: JsonForms::default(),
        };
        let raised = contracts().affected(&change).tags;
        if rules(&[]).of(&page) == Evidence::Log {
            prop_assert!(!page.is_empty() && page.iter().all(|tag| raised.contains(tag)));
        }
    }
}

#[test]
fn page_depends_on_mappings_of_its_tags() {
    let contracts = contracts();
    let mapping = |name: &str| contracts.get(name).and_then(Contract::mapping_fingerprint);
    let of = |page: &str| rules(&[]).mappings(&tags(page));
    assert_eq!(of(""), Vec::<u64>::new());
    assert_eq!(of("banner text-42"), Vec::<u64>::new(), "no log raises them");
    assert_eq!(of("product-42 category-7"), mapping("product").into_iter().collect::<Vec<_>>());
    let mut both: Vec<u64> = ["price", "stock"].into_iter().filter_map(mapping).collect();
    both.sort_unstable();
    assert_eq!(of("all-7"), both);
}

/// The stock is in a database of its own, whose log raises a tag of the shop's products too.
fn two_sources() -> Contracts {
    let text = SHOP.replace(
        "source = \"shop\", table = \"public.stock\", columns = [\"level\"] }\ntags = [\"stock-{id}\"",
        "source = \"depot\", table = \"public.stock\" }\ntags = [\"stock-{id}\", \"product-{id}\"",
    );
    Contracts::from_toml(&text.parse().expect("TOML")).expect("valid")
}

#[test]
fn page_depends_on_sources_that_may_raise_its_tags() {
    let rules = PageEvidence::new(&two_sources(), &[], &TextForms::default());
    assert_eq!(rules.sources(), ["depot", "shop"]);
    for (page, raised_by) in [
        ("", [false, false]),
        ("row-42", [false, true]),
        ("stock-42", [true, false]),
        ("row-42 stock-7", [true, true]),
        ("product-42", [true, true]),
        ("banner", [false, false]),
    ] {
        assert_eq!(rules.raised_by(&tags(page)), raised_by, "{page}");
    }
    let page = tags("product-42 row-42");
    let (shop, depot) = (rules.of_source("shop"), rules.of_source("depot"));
    assert_eq!((shop.mappings(&page).len(), depot.mappings(&page).len()), (2, 1));
    assert_eq!(rules.mappings(&page).len(), 3);
}

#[test]
fn digest_names_sources_where_there_are_several() {
    let digest = |text: &str| {
        let contracts = Contracts::from_toml(&text.parse().expect("TOML")).expect("valid");
        PageEvidence::new(&contracts, &[], &TextForms::default()).digest()
    };
    assert_eq!(digest(SHOP), digest(&SHOP.replace("\"shop\"", "\"store\"")));
    let moved = SHOP.replacen("source = \"shop\"", "source = \"depot\"", 1);
    assert_ne!(digest(SHOP), digest(&moved));
}

#[test]
fn contracts_are_divided_by_source() {
    let contracts = two_sources();
    let names = |source, is_main| {
        let own = contracts.of_source(source, is_main);
        own.iter().map(|contract| contract.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names("shop", true), ["product", "price", "texts"]);
    assert_eq!(names("depot", false), ["stock"]);
    let main = contracts.of_source("shop", true);
    assert!(main.get("stock").is_none() && main.tables("depot").is_empty());
    assert_eq!(main.mappings().len(), 2);
}
