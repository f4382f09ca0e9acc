//! Tables and columns that values of MariaDB and SQLite read through views.

use crate::joins::{CONTRACTS, tables, with_joins};
use crate::mariadb;
use crate::sqlite::Shop;
use crate::stack::{DEADLINE, Node};

const TABLE: &str = "changes do not invalidate it";
const COLUMN: &str = "outside `from.columns`";
const VIEW: &str = "could not find out which tables a view of the value reads";
const FUNCTION: &str = "calls a function";

/// Returns a contract of a table with the key `id`, of which only the column `v` counts.
fn contract(name: &str, table: &str, value: &str) -> String {
    format!(
        "\n[data.{name}]\nkey = \"v1:views:{name}:{{id}}\"\nvalue = \"{value}\"\n\
         from = {{ source = \"shop\", table = \"{table}\", key = \"id\", columns = [\"v\"] }}\nstaleness = \"5s\"\n\
         ttl = \"10m\"\nowner = \"shop\"\napproved = {{ by = [\"product\"], on = 2026-11-02 }}\n"
    )
}

/// Returns the contract and the object of each warning of a kind, in order.
fn warned(node: &Node, kind: &str, field: &str) -> Vec<String> {
    let field_of = |line: &str, field: &str| {
        let (_, rest) = line.split_once(&format!("{field}=\""))?;
        rest.split_once('"').map(|(text, _)| text.to_owned())
    };
    let lines = node.process.lines();
    let lines = lines.iter().filter(|line| line.contains("WARN") && line.contains(kind));
    let warning =
        |line: &String| Some(format!("{} {}", field_of(line, "contract")?, field_of(line, field)?));
    let mut found: Vec<String> = lines.filter_map(warning).collect();
    found.sort_unstable();
    found
}

/// The contracts of joins without the mapping of `rates`, which they read through a view.
fn through_view(contracts: &str) -> String {
    let without = contracts.replace("  { table = \"rates\", tags = [\"rate-{code}\"] },\n", "");
    without.replace("join rates r", "join all_rates r")
}

#[test]
fn table_behind_view_named_on_sqlite() {
    let shop = Shop::create();
    shop.sql(&(tables("text") + "create view all_rates as select * from Rates"));
    let node = shop.launch(&through_view(CONTRACTS)).ready();
    assert_eq!(warned(&node, TABLE, "table"), ["product_price rates"]);
    assert_eq!(warned(&node, COLUMN, "column"), Vec::<String>::new());
}

#[test]
fn table_behind_view_named_on_mariadb() {
    let stack = mariadb::Stack::start();
    stack.sql(&tables("varchar(20) character set utf8mb4 collate utf8mb4_bin"));
    stack.sql("create view all_rates as select * from rates");
    let launch = || {
        stack.launch_with(|config| {
            let (head, _) = config.split_once("[data.product_price]").expect("it is there");
            format!("{head}{}", through_view(CONTRACTS))
        })
    };
    let node = launch().ready();
    assert_eq!(warned(&node, VIEW, "view"), ["product_price shop.all_rates"]);
    drop(node);
    stack.mariadb.sql("grant show view on shop.* to shop").expect("granted");
    let node = launch().ready();
    assert_eq!(warned(&node, VIEW, "view"), Vec::<String>::new());
    assert_eq!(warned(&node, TABLE, "table"), ["product_price shop.rates"]);
    drop(node);
    let node = stack.launch_with(|config| with_joins(&config)).ready();
    assert_eq!(warned(&node, TABLE, "table"), Vec::<String>::new());
}

const VIEWED: &str = "create table p(id integer primary key, v int, w int); \
    create table rate(id integer primary key, f int); create table fee(id integer primary key, f int); \
    create view wide as select a.id, a.v, a.w, r.f from p a join rate r on r.id = a.id; \
    create view narrow as select id, v from p; \
    create view nested as with r as (select id, f from fee) \
      select n.id, n.v, (select count(*) from r) as fees from narrow n; \
    create view either as select id, v from p union all select id, f from rate where 1 = 0;";

/// The value of each contract, which has the name of its view.
fn viewed() -> String {
    ["wide", "narrow", "nested", "either"]
        .map(|view| contract(view, "p", &format!("select v from {view} where id = $id")))
        .concat()
}

const BEHIND_VIEWS: [&str; 3] = ["either rate", "nested fee", "wide rate"];

#[test]
fn every_kind_of_view_followed_on_sqlite() {
    let shop = Shop::create();
    shop.sql(VIEWED);
    shop.sql(
        "create virtual table docs using fts5(text); create virtual table box using rtree(id, a, b); \
         create virtual table words using fts5vocab(docs, row); create virtual table old using fts4(text); \
         create table bare(id text primary key, f int) without rowid; create view broken as select x from gone",
    );
    let more = contract(
        "search",
        "p",
        "with rate as (select v from p where id = $id) select v from rate, json_each('[1]') \
         where exists (select 1 from docs where docs match 'tea') and exists (select 1 from BOX where a > 1)",
    );
    let rare = "select v from p where id = $id and exists (select 1 from words where term = 'tea') \
        and exists (select 1 from old where old match 'tea') and exists (select 1 from bare b where b.f = 1) and 1 = 0";
    let rare = contract("rare", "p", rare);
    let counted =
        contract("counted", "p", "select v, (select count(*) from fee) n from p where id = $id");
    let node = shop.launch(&(viewed() + &more + &counted + &rare)).ready();
    let mut expected = BEHIND_VIEWS.to_vec();
    expected.extend([
        "counted fee",
        "rare bare",
        "rare old",
        "rare words",
        "search box",
        "search docs",
    ]);
    expected.sort_unstable();
    assert_eq!(warned(&node, TABLE, "table"), expected);
    assert_eq!(warned(&node, COLUMN, "column"), ["wide w"]);
}

/// The text of the statement has several `select`s, which the check of texts gives up on.
#[test]
fn column_in_subquery_outside_the_list_refused_on_sqlite() {
    let shop = Shop::create();
    shop.sql(VIEWED);
    let value = "with top as (select v from p where id = $id and W > 0) select v from top";
    let mut node = shop.launch(&contract("price", "p", value));
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("reads `w`, which `from.columns` leaves out"), "{output}");
    assert!(output.contains("add it to `columns`"), "{output}");
}

#[test]
fn every_kind_of_view_followed_on_mariadb() {
    let stack = mariadb::Stack::start();
    stack.mariadb.sql("grant show view, execute on shop.* to shop").expect("granted");
    stack.sql(VIEWED);
    stack.sql(
        "create function fees() returns int reads sql data return (select count(*) from fee); \
         create view called as select id, v + fees() as v from p; \
         create algorithm = temptable view grouped as select p.id, max(p.v) as v from p \
           left join (fee join rate using (id)) on fee.id = p.id where '`x`.`y` from rate' <> '' group by p.id; \
         create database other; create table other.tax(f int); insert into other.tax values (1); \
         create view taxed as select p.id, p.v from p, other.tax",
    );
    let value = |name: &str, value: &str| contract(name, "p", value);
    let more = [
        value("called", "select v from called where id = $id"),
        value("calling", "select v + fees() as v from p where id = $id"),
        // The optimizer removes both tables of the view.
        value(
            "grouped",
            "select v from p where id = $id and id in (select id from shop.`grouped` where 1 = 0)",
        ),
        value("taxed", "select v from taxed where id = $id"),
    ];
    let node = stack.launch_with(|config| config + &viewed() + &more.concat()).ready();
    let mut expected = BEHIND_VIEWS.map(|it| it.replace(' ', " shop.")).to_vec();
    expected.extend(["grouped shop.fee", "grouped shop.rate", "taxed other.tax"].map(String::from));
    expected.sort_unstable();
    assert_eq!(warned(&node, TABLE, "table"), expected);
    assert_eq!(warned(&node, FUNCTION, "function"), ["called shop.fees", "calling shop.fees"]);
    assert_eq!(warned(&node, COLUMN, "column"), ["wide w"]);
    assert_eq!(warned(&node, VIEW, "view"), Vec::<String>::new());
}
