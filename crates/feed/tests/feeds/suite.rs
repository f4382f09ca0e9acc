//! What every feed must do.

use coherence::{Cause, Subject};
use feed::LogMessage;

use crate::follow::Follow;
use crate::lab::Lab;

/// Makes a test of each function below, on a fresh database.
macro_rules! suite {
    ($lab:expr) => {
        macro_rules! held {
            ($name:ident) => {
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $crate::suite::$name(&$lab).await;
                }
            };
        }
        held!(tells_inserts_updates_and_deletes_of_any_writer);
        held!(a_rolled_back_transaction_is_not_told);
        held!(tells_in_commit_order);
        held!(a_changed_key_is_told_with_the_old_one);
        held!(what_was_not_acknowledged_is_told_again);
        held!(a_request_travels_through_the_log);
        held!(a_strangers_message_is_skipped);
        held!(an_idle_log_is_reached_to_its_end);
        held!(nulls_quotes_and_other_scripts_arrive_as_they_are);
        held!(dropping_next_loses_nothing);
    };
}
pub(crate) use suite;

pub(crate) async fn tells_inserts_updates_and_deletes_of_any_writer(lab: &dyn Lab) {
    let (mut follow, source) = (Follow::new(lab.feed()).await, lab.source());
    follow.reach_end(&*source).await;
    follow.take();
    lab.run("insert into products values (1, 'Tea', 7, 250), (2, 'Cup', 8, 900)");
    lab.run("update products set price_cents = 300 where id = 1");
    lab.run("delete from products");
    let mut changes = follow.changes(&*source).await;
    // One statement may delete in any order.
    changes[3..].sort();
    let [tea, cup, repriced, gone_tea, gone_cup] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(tea, "insert -> 1|Tea|7|250");
    assert_eq!(cup, "insert -> 2|Cup|8|900");
    assert!(repriced.ends_with("-> 1|Tea|7|300") && repriced.starts_with("update"), "{repriced}");
    assert!(gone_tea.starts_with("delete 1"), "{gone_tea}");
    assert!(gone_cup.starts_with("delete 2"), "{gone_cup}");
}

pub(crate) async fn a_rolled_back_transaction_is_not_told(lab: &dyn Lab) {
    let (mut follow, source) = (Follow::new(lab.feed()).await, lab.source());
    follow.reach_end(&*source).await;
    follow.take();
    lab.run("begin; insert into products values (1, 'Ghost', 7, 1); rollback;");
    lab.run("insert into products values (2, 'Cup', 8, 900)");
    assert_eq!(follow.changes(&*source).await, ["insert -> 2|Cup|8|900"]);
}

pub(crate) async fn tells_in_commit_order(lab: &dyn Lab) {
    lab.run("insert into products values (1, 'Tea', 7, 0)");
    let (mut follow, source) = (Follow::new(lab.feed()).await, lab.source());
    follow.reach_end(&*source).await;
    follow.take();
    let updates: Vec<String> =
        (1..=200).map(|n| format!("update products set price_cents = {n};")).collect();
    lab.run(&updates.concat());
    let changes = follow.changes(&*source).await;
    let prices: Vec<u32> =
        changes.iter().map(|c| c.rsplit('|').next().unwrap().parse().unwrap()).collect();
    assert_eq!(prices, (1..=200).collect::<Vec<_>>());
}

pub(crate) async fn a_changed_key_is_told_with_the_old_one(lab: &dyn Lab) {
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut follow, source) = (Follow::new(lab.feed()).await, lab.source());
    follow.reach_end(&*source).await;
    follow.take();
    lab.run("update products set id = 5 where id = 1");
    let changes = follow.changes(&*source).await;
    let [change] = &changes[..] else { panic!("{changes:?}") };
    assert!(change.starts_with("update 1"), "{change}");
    assert!(change.ends_with("-> 5|Tea|7|250"), "{change}");
}

pub(crate) async fn what_was_not_acknowledged_is_told_again(lab: &dyn Lab) {
    let (mut follow, source) = (Follow::new(lab.feed()).await, lab.source());
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    assert!(follow.changes(&*source).await.contains(&"insert -> 1|Tea|7|250".to_owned()));
    drop(follow);
    lab.run("insert into products values (2, 'Cup', 8, 900)");
    let mut again = Follow::new(lab.feed()).await;
    assert_eq!(again.start.slot_generation, None, "the log was there already");
    let changes = again.changes(&*source).await;
    assert!(changes.ends_with(&["insert -> 1|Tea|7|250".into(), "insert -> 2|Cup|8|900".into()]));
}

pub(crate) async fn a_request_travels_through_the_log(lab: &dyn Lab) {
    let (mut follow, source) = (Follow::new(lab.feed()).await, lab.source());
    follow.reach_end(&*source).await;
    follow.take();
    let message = LogMessage {
        id: "p-1".into(),
        cause: Cause::Purge,
        subjects: vec!["t:product-42".parse().unwrap(), Subject::Everything],
    };
    let position = source.emit(&message).await.expect("emitted");
    follow.reach(position).await;
    let commits = follow.take();
    let messages: Vec<_> = commits.iter().flat_map(|commit| &commit.messages).collect();
    assert_eq!(messages, [&message]);
    assert!(commits.iter().all(|commit| commit.lsn <= position));
}

pub(crate) async fn a_strangers_message_is_skipped(lab: &dyn Lab) {
    let (mut follow, source) = (Follow::new(lab.feed()).await, lab.source());
    follow.reach_end(&*source).await;
    follow.take();
    lab.write_message("{\"cause\":\"purge\",\"subjects\":[7]}");
    lab.write_message("it''s no json");
    lab.write_message("{\"cause\":\"application\",\"subjects\":[\"t:a\"]}");
    let messages = follow.messages(&*source).await;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].cause, Cause::Application);
}

pub(crate) async fn an_idle_log_is_reached_to_its_end(lab: &dyn Lab) {
    let (mut follow, source) = (Follow::new(lab.feed()).await, lab.source());
    for _ in 0..20 {
        let end = source.log_end().await.expect("the log has an end").lsn;
        source.nudge().await.expect("nudged");
        follow.reach(end).await;
    }
}

pub(crate) async fn nulls_quotes_and_other_scripts_arrive_as_they_are(lab: &dyn Lab) {
    let (mut follow, source) = (Follow::new(lab.feed()).await, lab.source());
    follow.reach_end(&*source).await;
    follow.take();
    lab.run("insert into products values (-1, 'it''s, ''''; NULL 茶 🍵', null, 0)");
    lab.run("insert into products values (2, '', 1, 1)");
    let changes = follow.changes(&*source).await;
    assert_eq!(changes, ["insert -> -1|it's, ''; NULL 茶 🍵|null|0", "insert -> 2||1|1"]);
}

pub(crate) async fn dropping_next_loses_nothing(lab: &dyn Lab) {
    let (mut follow, source) = (Follow::new(lab.feed()).await, lab.source());
    follow.reach_end(&*source).await;
    follow.take();
    for id in 0..50 {
        lab.run(&format!("insert into products values ({id}, 'x', 1, 1)"));
        for _ in 0..20 {
            tokio::select! {
                biased;
                event = follow.event() => { event.expect("the feed goes on"); }
                () = tokio::task::yield_now() => {}
            }
        }
    }
    assert_eq!(follow.changes(&*source).await.len(), 50);
}
