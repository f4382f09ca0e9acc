use std::sync::Arc;
use std::time::Duration;

use coherence::{Lsn, Subject};
use feed::{Feed, FeedEvent, PostgresFeed, PostgresOptions, PostgresSource, Source};
use harness::Postgres;

use crate::follow::{Follow, LIMIT, next, told};
use crate::lab::{Lab, PRODUCTS, WallClock, products};
use crate::suite::suite;

suite!(PostgresLab::new());

pub(crate) struct PostgresLab {
    pub(crate) server: Postgres,
}

impl PostgresLab {
    pub(crate) fn new() -> Self {
        let server = Postgres::start().unwrap();
        server.psql(PRODUCTS).unwrap();
        Self { server }
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        let url = self.server.url("postgres");
        PostgresOptions::new("shop", url, vec![products()], Arc::new(WallClock))
    }
}

impl Lab for PostgresLab {
    fn run(&self, sql: &str) {
        self.server.psql(sql).unwrap();
    }

    fn feed(&self) -> Box<dyn Feed> {
        Box::new(PostgresFeed::new(self.options()).unwrap())
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(PostgresSource::new(&self.server.url("postgres")).unwrap())
    }

    fn write_message(&self, text: &str) {
        self.run(&format!("select pg_logical_emit_message(true, 'tidegate', '{text}')"));
    }
}

impl PostgresLab {
    fn own_feed(&self, change: impl FnOnce(&mut PostgresOptions)) -> Box<dyn Feed> {
        let mut options = self.options();
        change(&mut options);
        Box::new(PostgresFeed::new(options).unwrap())
    }

    /// A session that stays open.
    pub(crate) async fn session(&self) -> tokio_postgres::Client {
        let url = self.server.url("postgres");
        let (client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

async fn caught_up(lab: &PostgresLab) -> (Follow, Box<dyn Source>) {
    let (mut follow, source) = (Follow::new(lab.feed()).await, lab.source());
    follow.reach_end(&*source).await;
    follow.take();
    (follow, source)
}

/// The next start of a feed that was lost.
async fn started_again(follow: &mut Follow) {
    loop {
        if let FeedEvent::Started(_) = follow.event().await.unwrap() {
            return;
        }
    }
}

#[tokio::test]
async fn a_truncate_names_every_table_it_reaches() {
    let lab = PostgresLab::new();
    lab.run("create table stock(id int primary key references products, pieces int)");
    let stock = feed::Tracked {
        table: "public.stock".into(),
        columns: vec!["id".into()],
        old_columns: vec![],
    };
    let mut follow = Follow::new(lab.own_feed(|options| options.tables.push(stock))).await;
    lab.run("truncate products cascade");
    let mut changes = follow.changes(&*lab.source()).await;
    changes.sort();
    assert_eq!(changes, ["truncate public.products", "truncate public.stock"]);
}

#[tokio::test]
async fn a_large_value_that_stays_is_told_as_unchanged() {
    let lab = PostgresLab::new();
    lab.run("alter table products alter column name set storage external");
    lab.run("insert into products values (1, repeat('x', 9000), 7, 250)");
    let (mut follow, source) = caught_up(&lab).await;
    lab.run("update products set price_cents = 300");
    lab.run("update products set name = repeat('y', 9000)");
    let changes = follow.changes(&*source).await;
    assert_eq!(changes, ["update -> 1|~|7|300", "update -> 1|9000 bytes|7|300"]);
}

#[tokio::test]
async fn a_full_replica_identity_tells_the_whole_old_row() {
    let lab = PostgresLab::new();
    lab.run("alter table products replica identity full");
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut follow, source) = caught_up(&lab).await;
    lab.run("update products set category_id = 8; delete from products;");
    let changes = follow.changes(&*source).await;
    assert_eq!(changes, ["update 1|Tea|7|250 -> 1|Tea|8|250", "delete 1|Tea|8|250 ->"]);
}

#[tokio::test]
async fn partitions_are_told_under_the_name_of_their_table() {
    let lab = PostgresLab::new();
    lab.run(
        "drop table products; \
         create table products(id int primary key, name text, category_id int, price_cents int) \
           partition by range (id); \
         create table products_low partition of products for values from (0) to (100)",
    );
    let mut follow = Follow::new(lab.feed()).await;
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    follow.reach_end(&*lab.source()).await;
    let commits = follow.take();
    assert_eq!(&*commits[0].changes[0].table, "public.products");
}

#[tokio::test]
async fn what_was_acknowledged_is_forgotten_by_the_database() {
    let lab = PostgresLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    assert_eq!(follow.changes(&*source).await.len(), 1);
    // The log moves on meanwhile; only this much is acknowledged.
    let acknowledged = follow.upto;
    follow.feed.ack(acknowledged);
    let confirmed = || -> Lsn {
        let sql = "select confirmed_flush_lsn from pg_replication_slots";
        lab.server.psql(sql).unwrap().parse().unwrap()
    };
    while confirmed() < acknowledged {
        let _ = tokio::time::timeout(Duration::from_millis(50), follow.event()).await;
    }
    drop(follow);
    let mut again = Follow::new(lab.feed()).await;
    assert_eq!(again.changes(&*source).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_feeds_one_leads_and_the_other_takes_over() {
    let lab = PostgresLab::new();
    let mut leader = Follow::new(lab.feed()).await;
    let mut standby = lab.feed();
    assert!(matches!(next(&mut standby).await.unwrap(), FeedEvent::Standby));
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    let source = lab.source();
    assert_eq!(leader.changes(&*source).await.len(), 1);
    let asked = tokio::time::Instant::now();
    drop(leader);
    let mut standby = Follow::new(standby).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "took {:?}", asked.elapsed());
    assert!(standby.start.unbroken, "it watched the server while it waited");
    assert_eq!(standby.changes(&*source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test]
async fn a_slot_dropped_by_hand_is_made_anew() {
    let lab = PostgresLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    assert!(follow.start.slot_generation.is_some());
    lab.run(
        "select pg_terminate_backend(active_pid) from pg_replication_slots; \
         select pg_sleep(0.02); select pg_drop_replication_slot('tidegate') \
         from pg_replication_slots where not active",
    );
    let first = follow.start.slot_generation;
    started_again(&mut follow).await;
    if follow.start.slot_generation.is_none() {
        // We were faster than the hand.
        lab.run(
            "do $$ begin loop begin \
               perform pg_terminate_backend(active_pid) from pg_replication_slots; \
               perform pg_drop_replication_slot('tidegate'); return; \
             exception when object_in_use then end; end loop; end $$",
        );
        started_again(&mut follow).await;
    }
    assert!(follow.start.slot_generation.is_some());
    assert_ne!(follow.start.slot_generation, first);
    assert!(follow.start.unbroken);
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    assert_eq!(follow.changes(&*source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test]
async fn a_cut_connection_is_made_again_and_nothing_is_missed() {
    let lab = PostgresLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    let before = follow.start.clone();
    lab.run("select pg_terminate_backend(active_pid) from pg_replication_slots");
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    started_again(&mut follow).await;
    assert!(follow.start.unbroken, "only a connection was lost");
    assert_eq!(follow.start.server_started, before.server_started);
    assert_eq!(follow.changes(&*source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_is_followed_on_and_the_break_is_told() {
    let mut lab = PostgresLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    let before = follow.start.clone();
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    // A server that shuts down waits until all was acknowledged, so somebody has to.
    let follower = tokio::spawn(async move {
        loop {
            match follow.event().await.unwrap() {
                FeedEvent::Piece(piece) => follow.feed.ack(piece.upto),
                FeedEvent::Started(_) => return follow,
                FeedEvent::Lost(_) | FeedEvent::Standby => {}
            }
        }
    });
    let lab = tokio::task::spawn_blocking(move || {
        lab.server.restart().unwrap();
        lab
    });
    let lab = lab.await.unwrap();
    let mut follow = tokio::time::timeout(LIMIT, follower).await.unwrap().unwrap();
    assert!(!follow.start.unbroken);
    assert_ne!(follow.start.server_started, before.server_started);
    assert_eq!(follow.start.system, before.system);
    assert_eq!(follow.start.slot_generation, None);
    lab.run("insert into products values (2, 'Cup', 8, 900)");
    assert_eq!(follow.changes(&*source).await.last().unwrap(), "insert -> 2|Cup|8|900");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_server_is_followed_on_and_the_break_is_told() {
    let mut lab = PostgresLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    lab.server.crash().unwrap();
    lab.server.start_again().unwrap();
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    started_again(&mut follow).await;
    assert!(!follow.start.unbroken);
    assert_eq!(follow.changes(&*source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_backend_killed_makes_the_server_start_over_which_is_a_break() {
    let lab = PostgresLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    let started = follow.start.server_started.clone();
    let client = lab.session().await;
    let row = client.query_one("select pg_backend_pid()", &[]).await.unwrap();
    let pid: i32 = row.get(0);
    assert!(
        std::process::Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
    started_again(&mut follow).await;
    assert!(!follow.start.unbroken);
    // What a node sees that was not connected at the time; the start time alone is the same.
    assert_ne!(follow.start.server_started, started);
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    assert_eq!(follow.changes(&*source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test]
async fn a_transaction_too_large_to_list_is_told_as_a_change_of_everything_in_its_tables() {
    let lab = PostgresLab::new();
    let mut follow = Follow::new(lab.own_feed(|options| options.max_changes = 100)).await;
    lab.run("insert into products select i, 'x', 1, 1 from generate_series(1, 101) i");
    lab.run("insert into products select i, 'x', 1, 1 from generate_series(201, 300) i");
    let changes = follow.changes(&*lab.source()).await;
    assert_eq!(changes[0], "truncate public.products");
    assert_eq!(changes.len(), 101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_23_an_event_arrives_before_its_commit_is_visible() {
    let lab = PostgresLab::new();
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut follow, source) = caught_up(&lab).await;
    lab.run("alter system set synchronous_standby_names = 'nobody'; select pg_reload_conf()");
    let writer = lab.session().await;
    writer.batch_execute("set synchronous_commit = on").await.unwrap();
    let hanging = tokio::spawn(async move {
        writer.batch_execute("update products set price_cents = 300 where id = 1").await
    });
    while follow.commits.is_empty() {
        follow.event().await.unwrap();
    }
    let commit = follow.take().remove(0);
    assert_eq!(told(&commit.changes[0]), "update -> 1|Tea|7|300");
    let seen = lab.server.psql("select price_cents from products").unwrap();
    assert_eq!(seen, "250", "no other session sees it yet");
    // A later commit that is visible, and idle progress: neither may carry W past the first.
    lab.run("set synchronous_commit = local; insert into products values (2, 'Cup', 8, 900)");
    let end = source.log_end().await.unwrap().lsn;
    source.nudge().await.unwrap();
    while follow.upto < end {
        follow.event().await.unwrap();
    }
    let quiet = tokio::time::timeout(Duration::from_millis(300), async {
        loop {
            follow.event().await.unwrap();
        }
    });
    assert!(quiet.await.is_err());
    assert!(follow.watermark < commit.lsn, "W is {} at {}", follow.watermark, commit.lsn);
    // Nor may the slot: whoever takes over has to be told of it.
    follow.feed.ack(follow.upto);
    drop(follow);
    let mut next = Follow::new(lab.feed()).await;
    assert!(next.start.position < commit.lsn);
    while next.commits.is_empty() {
        next.event().await.unwrap();
    }
    assert_eq!(told(&next.take()[0].changes[0]), "update -> 1|Tea|7|300");
    assert!(next.watermark < commit.lsn);
    lab.run("alter system reset synchronous_standby_names; select pg_reload_conf()");
    next.reach(commit.lsn).await;
    hanging.await.unwrap().unwrap();
    assert_eq!(lab.server.psql("select price_cents from products where id = 1").unwrap(), "300");
}

#[tokio::test]
async fn a_table_made_again_counts_as_changed_and_is_followed_on() {
    let lab = PostgresLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    lab.run(&format!("drop table products; {PRODUCTS}"));
    started_again(&mut follow).await;
    let messages = follow.messages(&*source).await;
    assert_eq!(messages[0].subjects, [Subject::Everything]);
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    assert_eq!(follow.changes(&*source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test]
async fn values_rewritten_by_alter_table_count_as_changed() {
    let lab = PostgresLab::new();
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut follow, source) = caught_up(&lab).await;
    lab.run("alter table products alter column price_cents type int using price_cents * 2");
    started_again(&mut follow).await;
    assert!(follow.start.unbroken);
    let messages = follow.messages(&*source).await;
    assert_eq!(messages[0].subjects, [Subject::Everything]);
}

#[tokio::test]
async fn a_publication_made_again_means_a_slot_made_again() {
    let lab = PostgresLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    lab.run("drop publication tidegate; insert into products values (1, 'Tea', 7, 250)");
    loop {
        started_again(&mut follow).await;
        if follow.start.slot_generation.is_some() {
            break;
        }
    }
    lab.run("insert into products values (2, 'Cup', 8, 900)");
    assert_eq!(follow.changes(&*source).await.last().unwrap(), "insert -> 2|Cup|8|900");
}

#[tokio::test]
async fn an_application_invalidates_inside_its_own_transaction() {
    let lab = PostgresLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    lab.run(
        "begin; insert into products values (1, 'Tea', 7, 250); \
         select pg_logical_emit_message(true, 'tidegate', \
           '{\"cause\":\"application\",\"subjects\":[\"t:menu\"]}'); commit",
    );
    lab.run(
        "begin; select pg_logical_emit_message(true, 'tidegate', \
           '{\"cause\":\"application\",\"subjects\":[\"*\"]}'); rollback",
    );
    follow.reach_end(&*source).await;
    let commits = follow.take();
    assert_eq!(commits.len(), 1);
    assert_eq!((commits[0].changes.len(), commits[0].messages.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_feeds_that_start_together_one_leads_and_the_other_waits() {
    let lab = PostgresLab::new();
    let (mut one, mut other) = (lab.feed(), lab.feed());
    let (one, other) = tokio::join!(next(&mut one), next(&mut other));
    let events = [one.unwrap(), other.unwrap()];
    assert!(events.iter().any(|event| matches!(event, FeedEvent::Started(_))), "{events:?}");
    assert!(events.iter().any(|event| matches!(event, FeedEvent::Standby)), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_new_slot_nothing_is_proven_before_the_transactions_of_then_have_ended() {
    let lab = PostgresLab::new();
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    let open = async |price: u32| {
        let session = lab.session().await;
        let update = format!("begin; insert into products values ({price}, 'x', 1, 1)");
        session.batch_execute(&update).await.unwrap();
        session
    };
    // Making the slot waits for what is open, in two stages.
    let first = open(101).await;
    let starting = tokio::spawn(Follow::new(lab.feed()));
    let waits = |count: usize| {
        let sql = "select count(*) from pg_locks where not granted and locktype = 'transactionid'";
        harness::until("the slot waiting", LIMIT, || {
            Ok((lab.server.psql(sql)? == count.to_string()).then_some(()))
        })
        .unwrap();
    };
    waits(1);
    let second = open(102).await;
    first.batch_execute("commit").await.unwrap();
    waits(1);
    let third = open(103).await;
    second.batch_execute("commit").await.unwrap();
    let mut follow = starting.await.unwrap();
    assert!(follow.start.slot_generation.is_some());
    let source = lab.source();
    let end = source.log_end().await.unwrap().lsn;
    source.nudge().await.unwrap();
    while follow.upto < end {
        follow.event().await.unwrap();
    }
    let quiet = tokio::time::timeout(Duration::from_millis(300), async {
        loop {
            follow.event().await.unwrap();
        }
    });
    assert!(quiet.await.is_err());
    assert_eq!(follow.watermark, Lsn::ZERO);
    third.batch_execute("commit").await.unwrap();
    follow.reach_end(&*source).await;
    assert!(follow.watermark > Lsn::ZERO);
}
