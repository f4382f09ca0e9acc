//! Properties that hold for any input.

use std::collections::HashMap;

use contract::{
    Cell, Contract, Contracts, Image, JsonForms, Key, KeyTemplate, Op, Row, RowChange, Tag,
    TagTemplate, lint_toml,
};
use proptest::prelude::*;

/// Values of the kinds that occur in a shop, and arbitrary text.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,20}",
        "[A-Za-z0-9._~-]{1,70}",
        "h-[0-9a-f]{32}",
        "\\PC{0,40}",
        any::<String>()
    ]
}

/// TOML values that people might write for any key.
fn toml_value() -> impl Strategy<Value = toml::Value> {
    let known = prop_oneof![
        Just("v1:catalog:price:{id}"),
        Just("30s"),
        Just("0s"),
        Just("99999days"),
        Just("price"),
        Just("session"),
        Just("serve-stale"),
        Just("local"),
        Just("personal"),
        Just("64KiB"),
        Just("select a from b where id = $id"),
        Just("product-{id}"),
        Just("id"),
    ];
    let leaf = prop_oneof![
        known.prop_map(|text| toml::Value::String(text.to_owned())),
        any::<String>().prop_map(toml::Value::String),
        any::<i64>().prop_map(toml::Value::Integer),
        any::<f64>().prop_map(toml::Value::Float),
        any::<bool>().prop_map(toml::Value::Boolean),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(toml::Value::Array),
            table_of(inner).prop_map(toml::Value::Table),
        ]
    })
}

fn table_of(values: impl Strategy<Value = toml::Value>) -> impl Strategy<Value = toml::Table> {
    let keys: Vec<String> = contract::reference()
        .iter()
        .map(|doc| doc.key.rsplit('.').next().unwrap_or(doc.key).to_owned())
        .chain(["nonsense".to_owned(), "stalenes".to_owned()])
        .collect();
    prop::collection::vec((prop::sample::select(keys), values), 0..12)
        .prop_map(|pairs| pairs.into_iter().collect())
}

/// A row of the database: id, category, price.
type StoredRow = (String, Option<String>, String);

fn stored_row() -> impl Strategy<Value = StoredRow> {
    ("[0-9]{1}|[a-z ]{1,3}", prop::option::weighted(0.8, "[0-9]{1}|\\PC{0,4}"), "[0-9]{1}")
}

/// The columns of a commit that a feed sends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Feed {
    /// PostgreSQL, REPLICA IDENTITY FULL.
    Full,
    /// PostgreSQL, the primary key as replica identity.
    Default,
    /// Triggers that record key and tag columns only.
    Triggers,
}

fn visible(stored: &StoredRow, columns: &[&str]) -> Row {
    let text = |value: &str| Cell::Text(value.to_owned());
    let all = [
        ("id", text(&stored.0)),
        ("category_id", stored.1.as_deref().map_or(Cell::Null, text)),
        ("price_cents", text(&stored.2)),
    ];
    all.into_iter().filter(|(name, _)| columns.contains(name)).collect()
}

fn row_change(
    feed: Feed,
    toast: bool,
    old: Option<&StoredRow>,
    new: Option<&StoredRow>,
) -> RowChange {
    const ALL: &[&str] = &["id", "category_id", "price_cents"];
    let op = match (old, new) {
        (None, _) => Op::Insert,
        (_, None) => Op::Delete,
        _ => Op::Update,
    };
    let (of_old, of_new): (&[&str], &[&str]) = match feed {
        Feed::Full => (ALL, ALL),
        Feed::Default => (&["id"], ALL),
        Feed::Triggers => (&["id", "category_id"], &["id", "category_id"]),
    };
    let key_kept = old.zip(new).is_some_and(|(old, new)| old.0 == new.0);
    let category_kept = old.zip(new).is_some_and(|(old, new)| old.1 == new.1);
    let new = new.map(|new| {
        let row = visible(new, of_new);
        if !(toast && category_kept) {
            return row;
        }
        let large = |name: &str| name == "category_id";
        row.iter().map(|(n, c)| (n, if large(n) { Cell::Unchanged } else { c.clone() })).collect()
    });
    let old = old.filter(|_| feed != Feed::Default || !key_kept).map(|old| visible(old, of_old));
    RowChange {
        source: "shop".into(),
        table: "products".into(),
        op,
        old,
        new,
        forms: JsonForms::default(),
    }
}

fn price() -> Contract {
    let text = "key = \"v1:catalog:price:{id}\"\nstaleness = \"30s\"\nid = \"text\"\n\
                tags = [\"category-{category_id}\"]\n\
                from = { source = \"shop\", table = \"products\", columns = [\"price_cents\"] }";
    Contract::from_toml("price", &text.parse().expect("well-formed")).expect("valid")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn different_parameters_have_different_keys(
        pairs in prop::collection::vec((value(), value()), 2..40)
    ) {
        let template = KeyTemplate::parse("v1:shop:thing:{id}:{variant}").expect("valid");
        let mut seen: HashMap<Key, (String, String)> = HashMap::new();
        for (id, variant) in pairs {
            if let Ok(key) = template.key(&[("id", &id), ("variant", &variant)]) {
                prop_assert!(Key::parse(key.as_str()).is_ok(), "{key}");
                let params = (id, variant);
                let first = seen.entry(key).or_insert_with(|| params.clone());
                prop_assert_eq!(&*first, &params);
            }
        }
    }

    #[test]
    fn moved_byte_changes_key(text in "[A-Za-z0-9._~:-]{3,40}", at in any::<prop::sample::Index>()) {
        let at = 1 + at.index(text.len() - 2);
        let template = KeyTemplate::parse("v1:shop:thing:{id}:{variant}").expect("valid");
        let key = |at: usize| template.key(&[("id", &text[..at]), ("variant", &text[at..])]);
        if let (Ok(one), Ok(other)) = (key(at), key(at + 1)) {
            prop_assert_ne!(one, other);
        }
    }

    #[test]
    fn parsers_never_panic(text in any::<String>(), id in any::<String>()) {
        let _ = Key::parse(&text);
        let _ = Tag::parse(&text);
        let _ = TagTemplate::parse(&text);
        if let Ok(template) = KeyTemplate::parse(&text) {
            let _ = template.key(&[("id", &id)]);
        }
        let _ = price().key(&id);
    }

    #[test]
    fn near_valid_templates_never_panic(text in "v?[0-9]{0,2}:?[a-z:{}|]{0,30}(\\{id\\})?[a-z:{}|]{0,10}") {
        if let Ok(template) = KeyTemplate::parse(&text) {
            prop_assert!(template.clashes_with(&template));
        }
    }

    #[test]
    fn any_table_parses_or_errors(table in table_of(toml_value()), other in table_of(toml_value())) {
        let data: toml::Table = [
            ("a".to_owned(), toml::Value::Table(table)),
            ("b".to_owned(), toml::Value::Table(other)),
        ].into_iter().collect();
        let findings = lint_toml(&data);
        let refused = Contracts::from_toml(&data);
        if let Err(err) = &refused {
            prop_assert!(!err.problems.is_empty());
            prop_assert!(findings.len() >= err.problems.len());
        }
        for finding in findings {
            prop_assert!(!finding.reason.is_empty() && !finding.fix.is_empty());
            prop_assert!(finding.path.starts_with("data."));
        }
    }

    #[test]
    fn any_statement_is_linted(sql in "(select|with|;|'|\"|\\$id|\\$|--|/\\*|\\*/|from|join|é| |[a-z]){0,40}") {
        let mut table: toml::Table = "key = \"v1:a:b:{id}\"\nstaleness = \"1s\"".parse().expect("well-formed");
        table.insert("value".to_owned(), toml::Value::String(sql));
        let data: toml::Table = [("a".to_owned(), toml::Value::Table(table))].into_iter().collect();
        let _ = lint_toml(&data);
    }

    #[test]
    fn numbering_changes_only_parameters(sql in "(select|'|\"|`|#|\\[|\\]|/\\*!|\\$id|\\$x|\\$|--|/\\*|\\*/|\n|E'|\\\\|é| |[a-z]){0,40}") {
        let mariadb = contract::SqlDialect::mariadb("");
        for dialect in [contract::SqlDialect::Postgres, mariadb, contract::SqlDialect::Sqlite] {
            let once = contract::number_parameters(&sql, dialect);
            let mut back = once.sql.clone();
            for (at, name) in once.names.iter().enumerate() {
                back = back.replace(&format!("${}", at + 1), &format!("${name}"));
            }
            prop_assert_eq!(&back, &sql);
        }
    }

    /// The fence relies on this coverage: a change contains every key and tag of the old and the new row,
    /// or reports that it is incomplete.
    #[test]
    fn change_names_both_rows_or_is_incomplete(
        old in prop::option::weighted(0.8, stored_row()),
        new in prop::option::weighted(0.8, stored_row()),
        feed in prop::sample::select(vec![Feed::Full, Feed::Default, Feed::Triggers]),
        toast in any::<bool>(),
    ) {
        prop_assume!(old.is_some() || new.is_some());
        let contract = price();
        let change = row_change(feed, toast, old.as_ref(), new.as_ref());
        let affected = contract.affected(&change);
        prop_assert!(!affected.everything, "the key is always known");
        if old == new {
            prop_assert!(feed != Feed::Full || affected.is_empty());
            return Ok(());
        }
        for (stored, image) in [(&old, Image::Old), (&new, Image::New)] {
            let Some(stored) = stored else { continue };
            let key = contract.key(&stored.0).expect("the id is harmless");
            prop_assert!(affected.keys.contains(&key), "{key} of {image:?}");
            for tag in contract.tags_for(&visible(stored, &["id", "category_id"])) {
                let incomplete = affected.incomplete.iter().any(|missing| {
                    missing.image == image && missing.column == "category_id"
                });
                prop_assert!(affected.tags.contains(&tag) || incomplete, "{tag} of {image:?}");
                prop_assert!(!incomplete || feed != Feed::Full, "the whole row is known");
            }
        }
    }
}
