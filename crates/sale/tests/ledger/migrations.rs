//! Migrations.

use sale::SchemaError;

use crate::fixture::Fixture;

async fn lifecycle(fixture: &Fixture) {
    let options = &fixture.options;
    let pending = options.pending().await.expect("readable");
    let all = pending.migrations.len();
    assert_eq!((pending.present, all > 1), (0, true));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_migrates_forward_only() {
    let fixture = Fixture::empty_sqlite();
    // A misspelt path must not become an empty ledger.
    fixture.options.open().await.map(|_| ()).expect_err("no file");
    lifecycle(&fixture).await;
}
