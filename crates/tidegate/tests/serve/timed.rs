//! Values that change by the database's clock, without a commit: sales that begin and end.

use std::time::{Duration, Instant};

use harness::{Port, Postgres, WallClock, http};
use serde_json::{Value, json};

use crate::stack::{DEADLINE, Node, Stack, bound_ms, now, start, tier};
use crate::{joins, mariadb};

/// Prices from a time on. `TIME`, `NOW` and `AT` stand for the database's type, its clock, and the time that it expects.
/// The budget and the TTL are longer than every test, so that no old value ends by itself. Without the governor, which may
/// spend the budget on a busy machine.
const CONTRACTS: &str = r#"
[data.product_price]
key = "v1:catalog:price:{id}"
value = """select cents from sales where product_id = $id and valid_from <= NOW
  order by valid_from desc limit 1"""
changes_at = "select AT from sales where product_id = $id"
from = { source = "shop", table = "sales", key = "product_id" }
staleness = "5min"
owner = "pricing"
approved = { by = ["product"], on = 2026-11-02 }

[governor]
mode = "off"
"#;

const FULL: &str = "; alter table sales replica identity full";

const TABLE: &str =
    "create table sales(id int primary key, product_id int, cents int, valid_from TIME)";

/// The time to the change: all nodes have to store the entries before.
const AHEAD: Duration = Duration::from_secs(12);

/// The words of a database.
struct Words {
    kind: &'static str,
    now: &'static str,
    at: &'static str,
    /// A time that many seconds from now.
    later: &'static str,
}

const POSTGRES: Words = Words {
    kind: "timestamptz",
    now: "now()",
    at: "valid_from",
    later: "clock_timestamp() + interval 'SECONDS seconds'",
};
const MARIADB: Words = Words {
    kind: "timestamp(6)",
    now: "now(6)",
    at: "unix_timestamp(valid_from)",
    later: "now(6) + interval SECONDS second",
};
const SQLITE: Words = Words {
    kind: "real",
    now: "(julianday('now') - 2440587.5) * 86400",
    at: "valid_from",
    later: "(julianday('now') - 2440587.5) * 86400 + SECONDS",
};

impl Words {
    fn contracts(&self) -> String {
        CONTRACTS.replace("NOW", self.now).replace("AT from", &format!("{} from", self.at))
    }

    fn table(&self) -> String {
        TABLE.replace("TIME", self.kind)
    }

    fn price(&self, id: u32, product: u32, cents: u32, seconds: i32) -> String {
        let later = self.later.replace("SECONDS", &seconds.to_string());
        format!("insert into sales values ({id}, {product}, {cents}, {later})")
    }
}

fn get(node: &Node, id: u32) -> http::Response {
    http::get(node.data, &format!("/data/product_price/{id}"), DEADLINE).expect("an answer")
}

fn cents(answer: &http::Response) -> Value {
    match answer.status {
        200 => serde_json::from_slice::<Value>(&answer.body).expect("JSON")["cents"].take(),
        status => json!(status),
    }
}

/// Creates products whose prices change in some seconds, and expects each answer of all nodes to be that of the time at which
/// it was given. `run` runs a statement.
fn assert_turn(nodes: &[&Node], words: &Words, run: &dyn Fn(&str)) {
    run(&words.price(1, 1, 100, -3_600));
    let earliest = now() + AHEAD;
    for product in 1..=2 {
        run(&words.price(1 + product, product, 80, AHEAD.as_secs() as i32));
    }
    let latest = now() + AHEAD;
    let expected = [json!(100), json!(404)];
    for node in nodes {
        for product in 1..=2 {
            node.wait("an entry", |node| {
                let answer = get(node, product);
                assert!(now() < earliest, "not stored in time");
                assert_eq!(cents(&answer), expected[product as usize - 1]);
                tier(&answer) == Some("local")
            });
        }
    }
    let mut seen: Vec<[u32; 2]> = vec![[0; 2]; nodes.len()];
    while seen.iter().flatten().any(|after| *after < 20) {
        assert!(now() < latest + DEADLINE, "not all nodes show the new price: {seen:?}");
        for (node, seen) in nodes.iter().zip(&mut seen) {
            for product in 1..=2 {
                let asked = now();
                let answer = get(node, product);
                let answered = now();
                check(
                    &answer,
                    &expected[product as usize - 1],
                    (asked, answered),
                    (earliest, latest),
                );
                let is_new = cents(&answer) == json!(80) && tier(&answer) == Some("local");
                seen[product as usize - 1] += u32::from(is_new);
            }
        }
    }
}

fn check(
    answer: &http::Response,
    old: &Value,
    (asked, answered): (Instant, Instant),
    (earliest, latest): (Instant, Instant),
) {
    let cents = cents(answer);
    if asked >= latest {
        let late = asked - latest;
        assert_eq!(cents, json!(80), "{late:?} after the change: {:?}", answer.headers);
    } else if answered < earliest {
        assert_eq!(cents, *old, "{:?} before the change", earliest - answered);
    } else {
        assert!(cents == json!(80) || cents == *old, "{cents}");
    }
    assert!(bound_ms(answer).is_some_and(|bound| bound < 5_000.0), "{:?}", answer.headers);
}

/// The database's clock is an hour behind those of the nodes.
#[test]
fn sale_begins_at_its_time_on_postgres() {
    let clock = WallClock::start().expect("a clock");
    clock.set_offset(-3_600).expect("set");
    let stack = Stack::with_postgres(Postgres::builder().clock(&clock));
    stack.sql(&(POSTGRES.table() + FULL));
    let with = |config: String| {
        let (head, _) = config.split_once("[data.product_price]").expect("it is there");
        format!("{head}{}", POSTGRES.contracts())
    };
    let nodes = [stack.node_with(with), stack.node_with(with)];
    assert_turn(&nodes.each_ref(), &POSTGRES, &|sql| drop(stack.sql(sql)));
    let output = nodes[0].process.lines().join("\n");
    assert!(!output.contains("value-by-the-clock"), "{output}");
}

#[test]
fn sale_begins_at_its_time_on_mariadb() {
    let stack = mariadb::Stack::start();
    stack.sql(&MARIADB.table());
    let with = |config: String| {
        let (head, _) = config.split_once("[data.product_price]").expect("it is there");
        format!("{head}{}", MARIADB.contracts())
    };
    let nodes = [stack.launch_with(with).ready(), stack.launch_with(with).ready()];
    assert_turn(&nodes.each_ref(), &MARIADB, &|sql| drop(stack.sql(sql)));
}

#[test]
fn sale_begins_at_its_time_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.db");
    let shop = rusqlite::Connection::open(&file).expect("a file");
    shop.busy_timeout(DEADLINE).expect("set");
    shop.execute_batch(&format!("pragma journal_mode = wal; {}", SQLITE.table())).expect("a table");
    let ports = [(); 2].map(|()| Port::reserve().expect("a free port"));
    let [data, admin] = ports.each_ref().map(Port::addr);
    let config = format!(
        "[listen]\ndata = \"{data}\"\nadmin = \"{admin}\"\n[source.shop]\nurl = \"sqlite:{}\"\n{}",
        file.display(),
        SQLITE.contracts()
    );
    let path = folder.path().join("tidegate.toml");
    std::fs::write(&path, config).expect("written");
    let node =
        Node { process: start(&path, &[]), gateway: data, data, admin, _ports: ports.into() };
    let node = node.ready();
    assert_turn(&[&node], &SQLITE, &|sql| shop.execute_batch(sql).expect("it runs"));
}

/// A time without a zone is another moment in each session, and in the hour that daylight saving repeats there are two.
#[test]
fn time_without_a_zone_refused() {
    let stack = Stack::start();
    stack.sql(
        &(POSTGRES.table()
            + FULL
            + "; alter table sales add column day date, add column local timestamp"),
    );
    let with = |at: &'static str| {
        move |config: String| {
            let (head, _) = config.split_once("[data.product_price]").expect("it is there");
            let at = format!("changes_at = \"select {at} from sales");
            format!(
                "{head}{}",
                POSTGRES.contracts().replace("changes_at = \"select valid_from from sales", &at)
            )
        }
    };
    let output = stack.refusal(with("local"));
    assert!(output.contains("`local at time zone 'UTC'`"), "{output}");
    let output = stack.refusal(with("valid_from, day"));
    assert!(output.contains("\"day\" of `changes_at` is of the type date"), "{output}");
    let output = stack.refusal(with("valid_to"));
    assert!(output.contains("its `changes_at` is refused by the database"), "{output}");
    stack.node_with(with(
        "valid_from, local at time zone 'Europe/Berlin', (day + 1)::timestamp at time zone 'UTC'",
    ));
}

/// A table of joined prices, with the start in one table and the end in another.
#[test]
fn joined_tables_name_the_times() {
    let stack = Stack::start();
    stack.sql(&(joins::tables("text") + joins::FULL));
    stack.sql(
        "create table campaigns(id int primary key, good_id int, off int, ends timestamptz); \
               alter table campaigns replica identity full",
    );
    let node = stack.node_with(|config| {
        let (head, _) = config.split_once("[data.product_price]").expect("it is there");
        format!(
            "{head}{}",
            r#"
[data.product_price]
key = "v1:catalog:offer:{id}"
value = """select p.cents - coalesce(c.off, 0) as cents from prices p
  left join campaigns c on c.good_id = p.good_id and c.ends > now() where p.good_id = $id"""
changes_at = "select ends from campaigns where good_id = $id"
from = [
  { source = "shop", table = "prices", key = "good_id" },
  { table = "campaigns", key = "good_id" },
]
staleness = "5min"
owner = "pricing"
approved = { by = ["product"], on = 2026-11-02 }
"#
        )
    });
    node.wait("an entry", |node| tier(&get(node, 1)) == Some("local"));
    stack.sql("insert into campaigns values (1, 1, 20, clock_timestamp() + interval '4 seconds')");
    let latest = now() + Duration::from_secs(4);
    node.wait("the campaign", |node| cents(&get(node, 1)) == json!(80) || now() > latest);
    // Nothing is committed at its end.
    node.wait("its end", |node| {
        let (asked, answer) = (now(), get(node, 1));
        assert!(asked < latest || cents(&answer) == json!(100), "{} after the end", answer.text());
        cents(&answer) == json!(100) && tier(&answer) == Some("local")
    });
}

/// The value reads the clock, and nothing says when it changes.
#[test]
fn value_by_the_clock_without_times_warned() {
    let stack = Stack::start();
    stack.sql(&(POSTGRES.table() + FULL));
    let node = stack.node_with(|config| {
        let (head, _) = config.split_once("[data.product_price]").expect("it is there");
        let contracts = POSTGRES.contracts();
        let lines = contracts.lines().filter(|line| !line.starts_with("changes_at"));
        format!("{head}{}", lines.collect::<Vec<_>>().join("\n"))
    });
    node.wait("a warning", |node| {
        let output = node.process.lines().join("\n");
        output.contains("value-by-the-clock") && output.contains("say in `changes_at`")
    });
}
