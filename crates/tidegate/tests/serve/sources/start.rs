//! Configurations that can't be right.

use super::stand::Stand;

fn refused(stand: &Stand, edit: impl Fn(String) -> String) -> String {
    stand.shop.refusal(|config| edit(stand.config(&config)))
}

#[test]
fn ambiguous_sources_refused() {
    let stand = Stand::start();
    let without = refused(&stand, |config| config.replace("main = true\n", ""));
    assert!(without.contains("set `main = true` in the source that was there first"), "{without}");
    let two = refused(&stand, |config| {
        config.replace("[source.stock]\n", "[source.stock]\nmain = true\n")
    });
    assert!(two.contains("`shop` and `stock` are both the main one"), "{two}");
    let shop = format!("url = \"postgres://shop@{}/shop\"", stand.shop.postgres.addr());
    let twice = refused(&stand, |config| {
        let (rest, _) = config.split_once("[source.stock]").expect("the source");
        assert!(rest.contains(&shop), "{rest}");
        format!("{rest}[source.stock]\n{shop}\n")
    });
    assert!(twice.contains("is the database of [source.shop]"), "{twice}");
    let unnamed = refused(&stand, |config| {
        config
            .replace("[source.stock]", "[source.Stock-1]")
            .replace("\"stock\", table", "\"Stock-1\", table")
    });
    assert!(unnamed.contains("`Stock-1` is not a name of a source"), "{unnamed}");
}

/// No log invalidates these entries when a row of the other database changes.
#[test]
fn service_with_tag_of_other_database_refused() {
    let stand = Stand::start();
    let service = "\n[data.shipping]\nkey = \"v1:shop:shipping:{id}\"\n\
        value = { http = \"http://127.0.0.1:1/{id}\" }\ntags = [\"stock-{id}\"]\n\
        staleness = \"60s\"\nowner = \"shop\"\napproved = { by = [\"product\"], on = 2026-11-02 }\n";
    let output = refused(&stand, |config| config + service);
    assert!(
        output.contains("may be raised by the log of [source.stock] (data.stock_level)"),
        "{output}"
    );
}
