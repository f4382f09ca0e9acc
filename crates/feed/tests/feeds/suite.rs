//! The behaviour that every feed must have.

use coherence::{Cause, Subject};
use feed::LogMessage;

use crate::fixture::Fixture;
use crate::reader::FeedReader;

/// Defines a test for each function below, on a fresh database.
macro_rules! suite {
    ($fixture:expr) => {
        macro_rules! suite_test {
            ($name:ident) => {
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $crate::suite::$name(&$fixture).await;
                }
            };
        }
        suite_test!(changes_of_any_writer_delivered);
        suite_test!(rollback_not_delivered);
        suite_test!(changes_in_commit_order);
        suite_test!(key_change_includes_old_key);
        suite_test!(unacknowledged_commit_redelivered);
        suite_test!(request_travels_through_log);
        suite_test!(malformed_message_skipped);
        suite_test!(idle_log_read_to_end);
        suite_test!(special_values_preserved);
        suite_test!(cancelled_next_loses_nothing);
    };
}
pub(crate) use suite;

pub(crate) async fn changes_of_any_writer_delivered(fixture: &dyn Fixture) {
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    reader.read_to_end(&*source).await;
    reader.take_commits();
    fixture.run("insert into products values (1, 'Tea', 7, 250), (2, 'Cup', 8, 900)");
    fixture.run("update products set price_cents = 300 where id = 1");
    fixture.run("delete from products");
    let mut changes = reader.changes_to_end(&*source).await;
    // One statement may delete in any order.
    changes[3..].sort();
    let [tea, cup, repriced, gone_tea, gone_cup] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(tea, "insert -> 1|Tea|7|250");
    assert_eq!(cup, "insert -> 2|Cup|8|900");
    assert!(repriced.ends_with("-> 1|Tea|7|300") && repriced.starts_with("update"), "{repriced}");
    assert!(gone_tea.starts_with("delete 1"), "{gone_tea}");
    assert!(gone_cup.starts_with("delete 2"), "{gone_cup}");
}

pub(crate) async fn rollback_not_delivered(fixture: &dyn Fixture) {
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    reader.read_to_end(&*source).await;
    reader.take_commits();
    fixture.run("begin; insert into products values (1, 'Ghost', 7, 1); rollback;");
    fixture.run("insert into products values (2, 'Cup', 8, 900)");
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 2|Cup|8|900"]);
}

pub(crate) async fn changes_in_commit_order(fixture: &dyn Fixture) {
    fixture.run("insert into products values (1, 'Tea', 7, 0)");
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    reader.read_to_end(&*source).await;
    reader.take_commits();
    let updates: Vec<String> =
        (1..=200).map(|n| format!("update products set price_cents = {n};")).collect();
    fixture.run(&updates.concat());
    let changes = reader.changes_to_end(&*source).await;
    let prices: Vec<u32> =
        changes.iter().map(|c| c.rsplit('|').next().unwrap().parse().unwrap()).collect();
    assert_eq!(prices, (1..=200).collect::<Vec<_>>());
}

pub(crate) async fn key_change_includes_old_key(fixture: &dyn Fixture) {
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    reader.read_to_end(&*source).await;
    reader.take_commits();
    fixture.run("update products set id = 5 where id = 1");
    let changes = reader.changes_to_end(&*source).await;
    let [change] = &changes[..] else { panic!("{changes:?}") };
    assert!(change.starts_with("update 1"), "{change}");
    assert!(change.ends_with("-> 5|Tea|7|250"), "{change}");
}

pub(crate) async fn unacknowledged_commit_redelivered(fixture: &dyn Fixture) {
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    assert!(reader.changes_to_end(&*source).await.contains(&"insert -> 1|Tea|7|250".to_owned()));
    drop(reader);
    fixture.run("insert into products values (2, 'Cup', 8, 900)");
    let mut again = FeedReader::new(fixture.feed()).await;
    assert_eq!(again.start.slot_generation, None, "the log already existed");
    let changes = again.changes_to_end(&*source).await;
    assert!(changes.ends_with(&["insert -> 1|Tea|7|250".into(), "insert -> 2|Cup|8|900".into()]));
}

pub(crate) async fn request_travels_through_log(fixture: &dyn Fixture) {
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    reader.read_to_end(&*source).await;
    reader.take_commits();
    let message = LogMessage {
        id: "p-1".into(),
        cause: Cause::Purge,
        subjects: vec!["t:product-42".parse().unwrap(), Subject::Everything],
    };
    let position = source.emit(&message).await.expect("emitted");
    reader.read_to(position).await;
    let commits = reader.take_commits();
    let messages: Vec<_> = commits.iter().flat_map(|commit| &commit.messages).collect();
    assert_eq!(messages, [&message]);
    assert!(commits.iter().all(|commit| commit.lsn <= position));
}

pub(crate) async fn malformed_message_skipped(fixture: &dyn Fixture) {
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    reader.read_to_end(&*source).await;
    reader.take_commits();
    fixture.write_message("{\"cause\":\"purge\",\"subjects\":[7]}");
    fixture.write_message("it''s no json");
    fixture.write_message("{\"cause\":\"application\",\"subjects\":[\"t:a\"]}");
    let messages = reader.messages_to_end(&*source).await;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].cause, Cause::Application);
}

pub(crate) async fn idle_log_read_to_end(fixture: &dyn Fixture) {
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    for _ in 0..20 {
        let end = source.log_end().await.expect("the log has an end").lsn;
        source.nudge().await.expect("nudged");
        reader.read_to(end).await;
    }
}

pub(crate) async fn special_values_preserved(fixture: &dyn Fixture) {
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    reader.read_to_end(&*source).await;
    reader.take_commits();
    fixture.run("insert into products values (-1, 'it''s, ''''; NULL 茶 🍵', null, 0)");
    fixture.run("insert into products values (2, '', 1, 1)");
    let changes = reader.changes_to_end(&*source).await;
    assert_eq!(changes, ["insert -> -1|it's, ''; NULL 茶 🍵|null|0", "insert -> 2||1|1"]);
}

pub(crate) async fn cancelled_next_loses_nothing(fixture: &dyn Fixture) {
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    reader.read_to_end(&*source).await;
    reader.take_commits();
    for id in 0..50 {
        fixture.run(&format!("insert into products values ({id}, 'x', 1, 1)"));
        for _ in 0..20 {
            tokio::select! {
                biased;
                event = reader.next_event() => { event.expect("the feed continues"); }
                () = tokio::task::yield_now() => {}
            }
        }
    }
    assert_eq!(reader.changes_to_end(&*source).await.len(), 50);
}
