use super::*;
use crate::mapping::row::{JsonForm, JsonForms};

const PRICE: &str = r#"
key = "v1:catalog:price:{id}"
value = "select price_cents, currency from products where id = $id"
from = { source = "shop", table = "products", key = "id", columns = ["price_cents", "currency"] }
tags = ["product-{id}", "category-{category_id}"]
staleness = "30s"
"#;

fn contract(value: &str) -> Contract {
    let old = "select price_cents, currency from products where id = $id";
    let text = PRICE.replace(old, &value.replace('"', "\\\"").replace('\n', "\\n"));
    Contract::from_toml("price", &text.parse().expect("well-formed")).expect("valid")
}

fn plain() -> Contract {
    contract("select price_cents, currency from products where id = $id")
}

fn row(cells: &[(&str, &str)]) -> Option<Row> {
    let cell = |text: &str| match text {
        "NULL" => Cell::Null,
        "TOAST" => Cell::Unchanged,
        _ => Cell::Text(text.to_owned()),
    };
    Some(cells.iter().map(|(name, text)| (*name, cell(text))).collect())
}

fn change(op: Op, old: Option<Row>, new: Option<Row>) -> RowChange {
    typed(op, old, new, JsonForm::Number)
}

/// A change whose `price_cents` has this form.
fn typed(op: Op, old: Option<Row>, new: Option<Row>, form: JsonForm) -> RowChange {
    let forms = [("price_cents", form), ("currency", JsonForm::Text)];
    let forms = forms.into_iter().map(|(name, form)| (name.to_owned(), form)).collect();
    RowChange { source: "shop".into(), table: "products".into(), op, old, new, forms }
}

const NEW: [(&str, &str); 4] =
    [("id", "42"), ("category_id", "7"), ("price_cents", "999"), ("currency", "E\"R\n")];

fn project(change: &RowChange) -> Vec<(String, Projected)> {
    let contract = plain();
    let projection = contract.projection(SqlDialect::Postgres).expect("a projection");
    let projected = projection.project(&contract, change);
    projected.into_iter().map(|(key, value)| (key.as_str().to_owned(), value)).collect()
}

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| Tag::parse(name).expect("a tag")).collect()
}

#[test]
fn new_row_written_as_row_to_json() {
    let json = r#"{"price_cents":999,"currency":"E\"R\n"}"#.to_owned();
    let whole = Projected::Value(Some(json), tags(&["product-42", "category-7"]));
    let expected = [("v1:catalog:price:42".to_owned(), whole)];
    assert_eq!(project(&change(Op::Insert, None, row(&NEW))), expected);
    assert_eq!(project(&change(Op::Update, None, row(&NEW))), expected);
}

#[test]
fn deleted_row_projects_absence() {
    let gone = Projected::Value(None, tags(&["product-42"]));
    assert_eq!(
        project(&change(Op::Delete, row(&[("id", "42")]), None)),
        [("v1:catalog:price:42".to_owned(), gone.clone())]
    );
    let moved = change(Op::Update, row(&[("id", "41")]), row(&NEW));
    let keys: Vec<String> = project(&moved).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["v1:catalog:price:41", "v1:catalog:price:42"]);
}

#[test]
fn missing_column_projects_unknown() {
    for (column, text) in [("currency", "TOAST"), ("category_id", "TOAST")] {
        let mut cells = NEW;
        cells.iter_mut().find(|(name, _)| *name == column).expect("there").1 = text;
        let change = change(Op::Update, None, row(&cells));
        assert_eq!(project(&change), [("v1:catalog:price:42".to_owned(), Projected::Unknown)]);
    }
    let untyped = RowChange { forms: JsonForms::default(), ..change(Op::Insert, None, row(&NEW)) };
    assert_eq!(project(&untyped), [("v1:catalog:price:42".to_owned(), Projected::Unknown)]);
    let full = change(Op::Update, row(&[("currency", "EUR")]), row(&[("currency", "TOAST")]));
    assert_eq!(project(&full), [], "the update does not contain the id");
    let old = [("id", "42"), ("category_id", "7"), ("price_cents", "998"), ("currency", "EUR")];
    let new = [("id", "42"), ("category_id", "7"), ("price_cents", "999"), ("currency", "TOAST")];
    let [(_, Projected::Value(Some(json), _))] =
        &project(&change(Op::Update, row(&old), row(&new)))[..]
    else {
        panic!("the old row contains the value")
    };
    assert_eq!(json, r#"{"price_cents":999,"currency":"EUR"}"#);
}

#[test]
fn json_forms_are_respected() {
    for (form, text, json) in [
        (JsonForm::Number, "-12.50", "-12.50"),
        (JsonForm::Number, "NaN", "\"NaN\""),
        (JsonForm::Number, "1e+15", "1e+15"),
        (JsonForm::Number, "1.50", "1.50"),
        (JsonForm::FixedNumber, "0.50", "0.50"),
        (JsonForm::FixedNumber, "0000", "\"0000\""),
        (JsonForm::Number, "-Infinity", "\"-Infinity\""),
        (JsonForm::Padded, "ab ", "\"ab \""),
        (JsonForm::Number, "NULL", "null"),
        (JsonForm::Boolean, "t", "true"),
        (JsonForm::Json, "{\"a\": 1}", "{\"a\": 1}"),
        (JsonForm::Text, "\u{1}\u{7f}/ü", "\"\\u0001\u{7f}/ü\""),
    ] {
        let contract = self::contract("select price_cents as p from products where id=$id");
        let projection = contract.projection(SqlDialect::Postgres).expect("a projection");
        let new = row(&[("id", "1"), ("category_id", "NULL"), ("price_cents", text)]);
        let projected = projection.project(&contract, &typed(Op::Insert, None, new, form));
        let [(_, Projected::Value(Some(written), _))] = &projected[..] else {
            panic!("{projected:?}")
        };
        assert_eq!(*written, format!("{{\"p\":{json}}}"));
    }
}

#[test]
fn only_plain_selects_are_projections() {
    let columns = |value: &str| {
        let projection = contract(value).projection(SqlDialect::Postgres).ok()?;
        Some(projection.columns().map(str::to_owned).collect::<Vec<_>>().join(" "))
    };
    for (value, expected) in [
        ("select price_cents from products where id = $id", Some("price_cents")),
        (
            "SELECT Price_Cents AS p, currency\nFROM public.products WHERE id=$id ;",
            Some("price_cents currency"),
        ),
        ("select \"price_cents\" /* c */ from products -- x\n where id = $id", Some("price_cents")),
        ("select price_cents + 1 from products where id = $id", None),
        ("select * from products where id = $id", None),
        ("select upper(currency) from products where id = $id", None),
        ("select current_user from products where id = $id", None),
        ("select currency c from products where id = $id", None),
        ("select distinct currency from products where id = $id", None),
        ("select currency from products p where id = $id", None),
        ("select currency from products, other where id = $id", None),
        ("select currency from other where id = $id", None),
        ("select currency from products where id = $id and true", None),
        ("select currency from products where currency = $id", None),
        ("select currency from products where id = $id limit 1", None),
        ("select currency from products where id = 7 or id = $id", None),
        ("select name from products where id = $id", None),
        ("select 'x' from products where id = $id", None),
        ("select", None),
    ] {
        assert_eq!(columns(value).as_deref(), expected, "{value}");
    }
}

#[test]
fn mariadb_names_kept_as_written() {
    let fields = |value: &str| {
        let projection = contract(value).projection(SqlDialect::mariadb("")).ok()?;
        let field = |(name, column): &(String, String)| format!("{name}={column}");
        Some(projection.fields.iter().map(field).collect::<Vec<_>>().join(" "))
    };
    for (value, expected) in [
        ("select price_cents from products where id = $id", Some("price_cents=price_cents")),
        (
            "SELECT Price_Cents, `currency` AS `The currency` FROM products WHERE ID = $id;",
            Some("Price_Cents=Price_Cents The currency=currency"),
        ),
        ("select currency # c\n from products -- x\n where id = $id", Some("currency=currency")),
        ("select \"currency\" from products where id = $id", None),
        ("select currency from Products where id = $id", None),
        ("select utc_date from products where id = $id", None),
        ("select UTC_TIMESTAMP as currency from products where id = $id", None),
        ("select /*! sql_no_cache */ currency from products where id = $id", None),
    ] {
        assert_eq!(fields(value).as_deref(), expected, "{value}");
    }
}
