//! Values of MariaDB and SQLite that read a column outside `from.columns`.

use harness::Port;

use crate::stack::{DEADLINE, Node, start};

fn assert_refused(mut node: Node, column: &str) {
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains(column) && output.contains("`from.columns` leaves out"), "{output}");
    assert!(output.contains("add it to `columns`"), "{output}");
}

#[test]
fn mariadb_condition_outside_the_list_refused() {
    let stack = crate::mariadb::Stack::start();
    let value = "select price_cents, currency from products where id = $id";
    let with = |more: &'static str, columns: &'static str| {
        move |config: String| {
            let more = config.replace(value, &format!("{value}{more}"));
            more.replace(r#"["price_cents", "currency"]"#, columns)
        }
    };
    let listed = r#"["price_cents", "currency"]"#;
    assert_refused(stack.launch_with(with(" and Name <> ''", listed)), "`name`");
    // The same words in a text, a comment or as a function read nothing.
    stack
        .launch_with(with(" and 'name' <> left('x', 1) # name", r#"["price_cents", "currency"]"#))
        .ready();
    stack.launch_with(with(" and name <> ''", r#"["price_cents", "currency", "name"]"#)).ready();
}

#[test]
fn sqlite_condition_outside_the_list_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.db");
    let shop = rusqlite::Connection::open(&file).expect("a file");
    shop.execute_batch(
        "create table products(id integer primary key, cents int, rate int, hidden int)",
    )
    .expect("a table");
    let launch = |value: &str, columns: &str| {
        let ports = [(); 2].map(|()| Port::reserve().expect("a free port"));
        let [data, admin] = ports.each_ref().map(Port::addr);
        let config = format!(
            r#"
            [listen]
            data = "{data}"
            admin = "{admin}"
            [source.shop]
            url = "sqlite:{}"
            [data.price]
            key = "v1:catalog:price:{{id}}"
            value = "{value}"
            from = {{ source = "shop", table = "products", key = "id", columns = [{columns}] }}
            staleness = "5min"
            owner = "pricing"
            approved = {{ by = ["product"], on = 2026-11-02 }}
            "#,
            file.display(),
        );
        let path = folder.path().join(format!("tidegate-{}.toml", admin.port()));
        std::fs::write(&path, config).expect("written");
        Node { process: start(&path, &[]), gateway: data, data, admin, _ports: ports.into() }
    };
    let hidden = "select cents from products where id = $id and not hidden";
    assert_refused(launch(hidden, r#""cents""#), "`hidden`");
    assert_refused(
        launch("select cents * [Rate] as cents from products p where p.id = $id", r#""cents""#),
        "`rate`",
    );
    launch(hidden, r#""cents", "hidden""#).ready();
}
