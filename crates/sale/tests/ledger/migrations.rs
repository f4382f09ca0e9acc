//! Migrations.

use sale::{HoldId, SaleError, SchemaError};

use crate::fixture::Fixture;

async fn lifecycle(fixture: &Fixture) {
    let options = &fixture.options;
    let pending = options.pending().await.expect("readable");
    let all = pending.migrations.len();
    assert!(pending.present == 0 && all > 0, "{pending:?}");
    let (first, second) = tokio::join!(
        tokio::spawn({
            let options = options.clone();
            async move { options.migrate().await }
        }),
        tokio::spawn({
            let options = options.clone();
            async move { options.migrate().await }
        }),
    );
    let applied =
        [first, second].map(|one| one.expect("joined").expect("migrated").migrations.len());
    assert!(applied.contains(&all) && applied.contains(&0), "one of two applies all: {applied:?}");
    fixture.shop().await.put("A", 1).await;
    assert!(options.migrate().await.expect("up to date").migrations.is_empty());
    fixture.shop().await.assert_stock("A", 1, 0, 0).await;
    fixture.sql("insert into tidegate.migration(version, name) values (999, 'of the future')");
    for refused in [
        options.open().await.map(|_| ()),
        options.migrate().await.map(|_| ()),
        options.pending().await.map(|_| ()),
    ] {
        assert!(matches!(refused, Err(SchemaError::Newer { present: 999, .. })), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_migrates_forward_only() {
    let fixture = Fixture::empty_postgres();
    let missing = fixture.options.open().await.map(|_| ()).expect_err("no schema");
    assert!(matches!(missing, SchemaError::Missing), "{missing:?}");
    assert!(missing.to_string().contains("tidegate sale migrate"));
    lifecycle(&fixture).await;
}

/// The statement of a node of the first version.
const HOLD_OF_FIRST: &str = "select outcome from tidegate.hold_batch(array['A', 'B'], array['main', 'main'], \
    array[lpad('KEY', 32, '0')::uuid], array['c'], array['KEY'], array[7::bigint], array[600000::bigint], \
    array[1], array[1, 1], array[1, 2], array[2::bigint, 1]);";

/// Holds of the first version are sold, given back and counted after the migration, and its nodes serve on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_holds_of_the_first_version() {
    let fixture = Fixture::empty_postgres();
    let pending = fixture.options.pending().await.expect("readable");
    fixture.sql(&format!(
        "create schema tidegate; create table tidegate.migration( \
           version int primary key, name text not null, applied_at timestamptz not null default now()); \
         {} insert into tidegate.migration values (1, 'inventory'); \
         select tidegate.set_stock(sku, 'main', 10, null, null, null) from unnest(array['A', 'B']) sku;",
        pending.migrations[0].sql
    ));
    let hold_of_first =
        |number: u32| fixture.sql(&HOLD_OF_FIRST.replace("KEY", &number.to_string()));
    (1..=3).for_each(hold_of_first);
    let applied = fixture.options.migrate().await.expect("migrated");
    assert_eq!(applied.present, 1);
    let shop = fixture.shop().await;
    shop.assert_stock("A", 10, 6, 0).await;
    shop.confirm(HoldId(1)).await.expect("confirmed");
    shop.sale.cancel(HoldId(2)).await.expect("cancelled");
    let kept = shop.sale.find_hold(HoldId(3)).await.expect("known");
    let lines: Vec<_> = kept.lines.iter().map(|line| (&*line.cell.sku, line.quantity)).collect();
    assert_eq!(lines, [("A", 2), ("B", 1)]);
    // The digest that is stored under the key is of no request here.
    let reused = shop.hold("3", "c", &[("A", 2), ("B", 1)]).await;
    assert!(matches!(reused, Err(SaleError::KeyReused)), "{reused:?}");
    hold_of_first(4);
    let new = shop.hold("new", "c", &[("A", 1)]).await.expect("held");
    fixture.sql(&format!(
        "select * from tidegate.end_batch(array['{}', lpad('4', 32, '0')]::uuid[], \
         array['confirmed', 'cancelled'], array['a', null], array[1::bigint, null])",
        new.hold
    ));
    shop.assert_stock("A", 10, 2, 3).await;
    shop.assert_stock("B", 10, 1, 1).await;
    assert_eq!(shop.ledger.audit().await.expect("audited"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_migrates_forward_only() {
    let fixture = Fixture::empty_sqlite();
    // A misspelt path must not become an empty ledger.
    fixture.options.open().await.map(|_| ()).expect_err("no file");
    lifecycle(&fixture).await;
}
