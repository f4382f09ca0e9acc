use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coherence::Subject;
use feed::{
    Bookmark, Feed, FeedError, FeedEvent, LogEnd, MariaDbFeed, MariaDbOptions, MariaDbSource,
    Source,
};
use harness::MariaDb;
use tokio::sync::Mutex;

use crate::follow::{Follow, LIMIT, next};
use crate::lab::{Lab, PRODUCTS, WallClock, products};
use crate::suite::suite;

suite!(MariaDbLab::new());

pub(crate) struct MariaDbLab {
    pub(crate) server: MariaDb,
    bookmark: Arc<Bookmarked>,
}

/// A consumer that stays where the log ended when it was first asked, until it is told to go on.
struct Bookmarked {
    source: MariaDbSource,
    at: Mutex<Option<LogEnd>>,
}

#[async_trait]
impl Bookmark for Bookmarked {
    async fn applied(&self) -> Result<Option<LogEnd>, FeedError> {
        let mut at = self.at.lock().await;
        if at.is_none() {
            *at = Some(self.source.log_end().await?);
        }
        Ok(*at)
    }
}

pub(crate) const ORDERS: &str = "create table tidegate_orders(id bigint unsigned auto_increment \
    primary key, message mediumtext character set utf8mb4 not null)";

impl MariaDbLab {
    pub(crate) fn new() -> Self {
        Self::on(MariaDb::start().unwrap())
    }

    pub(crate) fn on(server: MariaDb) -> Self {
        server.sql("create database shop").unwrap();
        server.sql_in("shop", &format!("{PRODUCTS}; {ORDERS}")).unwrap();
        let source = MariaDbSource::new(&server.url_as("root", "shop")).unwrap();
        Self { server, bookmark: Arc::new(Bookmarked { source, at: Mutex::default() }) }
    }

    pub(crate) fn options(&self) -> MariaDbOptions {
        let url = self.server.url_as("root", "shop");
        MariaDbOptions::new("shop", url, vec![products()], Arc::new(WallClock))
    }

    fn own_feed(&self, change: impl FnOnce(&mut MariaDbOptions)) -> Box<dyn Feed> {
        let mut options = self.options();
        change(&mut options);
        let mut feed = MariaDbFeed::new(options).unwrap();
        feed.resume(self.bookmark.clone());
        Box::new(feed)
    }

    /// The consumer has applied all that it was told.
    async fn applied(&self, follow: &Follow) {
        let end = self.bookmark.source.log_end().await.unwrap();
        *self.bookmark.at.lock().await = Some(LogEnd { lsn: follow.upto, ..end });
    }
}

impl Lab for MariaDbLab {
    fn run(&self, sql: &str) {
        self.server.sql_in("shop", sql).unwrap();
    }

    fn feed(&self) -> Box<dyn Feed> {
        self.own_feed(|_| {})
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(MariaDbSource::new(&self.server.url_as("root", "shop")).unwrap())
    }

    fn write_message(&self, text: &str) {
        self.run(&format!("insert into tidegate_orders(message) values ('{text}')"));
    }
}

async fn caught_up(lab: &MariaDbLab) -> (Follow, Box<dyn Source>) {
    let (mut follow, source) = (Follow::new(lab.feed()).await, lab.source());
    follow.reach_end(&*source).await;
    follow.take();
    (follow, source)
}

/// Follows over the loss of the stream to the next start.
async fn started_again(follow: &mut Follow) {
    loop {
        if let FeedEvent::Started(_) = follow.event().await.unwrap() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_feeds_one_leads_and_the_other_takes_over() {
    let lab = MariaDbLab::new();
    let mut leader = Follow::new(lab.feed()).await;
    let mut standby = lab.feed();
    assert!(matches!(next(&mut standby).await.unwrap(), FeedEvent::Standby));
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    let source = lab.source();
    assert_eq!(leader.changes(&*source).await.len(), 1);
    drop(leader);
    let mut standby = Follow::new(standby).await;
    assert!(standby.start.unbroken, "it watched the server while it waited");
    assert_eq!(standby.changes(&*source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_23_an_event_arrives_before_its_commit_is_visible() {
    let lab = MariaDbLab::new();
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut follow, source) = caught_up(&lab).await;
    // The server waits for a replica that is not there, with the commit in its log already.
    lab.server
        .sql(
            "set global rpl_semi_sync_master_timeout = 600000; \
             set global rpl_semi_sync_master_wait_point = AFTER_SYNC; \
             set global rpl_semi_sync_master_enabled = 1",
        )
        .unwrap();
    let shown = || lab.server.sql_in("shop", "select price_cents from products").unwrap();
    std::thread::scope(|scope| {
        let writer =
            scope.spawn(|| lab.server.sql_in("shop", "update products set price_cents = 300"));
        let told = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                while follow.commits.is_empty() {
                    follow.event().await.unwrap();
                }
                let lsn = follow.commits[0].lsn;
                // W is asked for again and again meanwhile.
                let _ = tokio::time::timeout(Duration::from_millis(300), follow.event()).await;
                (lsn, follow.watermark, shown())
            })
        });
        let ended = lab.server.sql("set global rpl_semi_sync_master_enabled = 0");
        let (lsn, watermark, price) = told;
        assert_eq!(price, "250", "the event was told before anybody can see the commit");
        assert!(watermark < lsn, "{watermark} {lsn}");
        ended.unwrap();
        writer.join().unwrap().unwrap();
    });
    follow.reach_end(&*source).await;
    assert_eq!(shown(), "300");
    assert!(follow.watermark >= follow.commits[0].lsn);
}

#[tokio::test]
async fn values_have_the_text_that_the_database_gives_them() {
    let lab = MariaDbLab::new();
    let columns = [
        ("a", "tinyint"),
        ("b", "smallint unsigned"),
        ("y", "year"),
        ("c", "mediumint"),
        ("f", "double"),
        ("d", "bigint unsigned"),
        ("e", "decimal(20,4)"),
        ("g", "decimal(7,0) unsigned"),
        ("h", "decimal(65,30)"),
        ("i", "char(4)"),
        ("j", "varchar(300)"),
        ("k", "char(100) character set utf8mb4"),
        ("l", "longtext"),
        ("m", "date"),
        ("n", "int unsigned"),
        ("o", "mediumint unsigned"),
        ("p", "bit(9)"),
        ("q", "int"),
    ];
    let definitions: Vec<String> =
        columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    lab.run(&format!("create table wide(id int primary key, {})", definitions.join(", ")));
    let told = |opaque: &&str| !["f", "p"].contains(opaque);
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).filter(told).collect();
    let wide = feed::Tracked {
        table: "shop.wide".into(),
        columns: names.iter().map(|name| (*name).to_owned()).collect(),
        old_columns: vec![],
    };
    let mut follow = Follow::new(lab.own_feed(|options| options.tables.push(wide))).await;
    for values in [
        "-128, 65535, 1901, -8388608, 1.5, 18446744073709551615, -1234567890123456.0789, 42, \
         -12345678901234567890123456789012345.000000000000000000000000000001, 'ab', \
         repeat('é', 200), repeat('茶', 99), repeat('x', 70000), '2026-02-03', 4294967295, 16777215, \
         b'101', -2147483648",
        "127, 0, 2155, 8388607, -0.0, 0, 0.0001, 9999999, 0, '', '', '', '', '0000-00-00', 0, 0, 0, 0",
        "-1, 1, 0, -1, 0, 9223372036854775808, -0.5, 0, 99999999999999999999999999999999999.5, \
         'é茶', 'a\\'b', ' x', '🍵', '9999-12-31', 1, 1, 1, -1",
        "null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, \
         null, null, null",
    ] {
        lab.run(&format!("set sql_mode = ''; replace into wide values (1, {values})"));
        let texts: Vec<String> = names
            .iter()
            .map(|name| format!("coalesce(cast({name} as char character set utf8mb4), 'null')"))
            .collect();
        let wanted = lab
            .server
            .sql_in("shop", &format!("select concat_ws('|', {}) from wide", texts.join(", ")))
            .unwrap();
        follow.reach_end(&*lab.source()).await;
        let commits = follow.take();
        let changes: Vec<_> = commits.iter().flat_map(|commit| &commit.changes).collect();
        let [change] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!(&*change.table, "shop.wide");
        let row = change.new.as_ref().unwrap();
        let texts: Vec<&str> = row.iter().map(|(_, cell)| cell.text().unwrap_or("null")).collect();
        assert_eq!(texts.join("|"), wanted);
    }
}

#[tokio::test]
async fn what_the_log_tells_without_rows_counts_as_a_change_of_everything() {
    let lab = MariaDbLab::new();
    lab.run("create table other(id int primary key); insert into other values (1)");
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut follow, source) = caught_up(&lab).await;
    lab.run("set session binlog_format = STATEMENT; update products set price_cents = 1");
    follow.reach_end(&*source).await;
    let commits = follow.take();
    assert_eq!(commits.len(), 1, "{commits:?}");
    assert_eq!(crate::follow::told(&commits[0].changes[0]), "truncate products");
    assert_eq!(commits[0].messages[0].subjects, [Subject::Everything]);
    // Nobody can tell what a trigger or function did.
    lab.run("set session binlog_format = STATEMENT; update other set id = 2");
    assert_eq!(follow.changes(&*source).await, ["truncate products"]);
    lab.run("set session binlog_row_image = MINIMAL; update products set price_cents = 2");
    assert_eq!(follow.changes(&*source).await, ["truncate products"]);
    lab.run("truncate products");
    assert_eq!(follow.changes(&*source).await, ["truncate products"]);
    lab.run("truncate other; drop table other; create table unrelated(products_id int)");
    assert_eq!(follow.changes(&*source).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_prepared_transaction_is_told_when_it_is_committed() {
    let lab = MariaDbLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    lab.run(
        "xa start 'a'; insert into products values (1, 'Tea', 7, 250); xa end 'a'; xa prepare 'a'",
    );
    assert_eq!(follow.changes(&*source).await, Vec::<String>::new());
    lab.run("insert into products values (2, 'Cup', 8, 900)");
    lab.run("xa commit 'a'");
    let changes = follow.changes(&*source).await;
    assert_eq!(changes, ["insert -> 2|Cup|8|900", "insert -> 1|Tea|7|250"]);
    lab.run("xa start 'b'; delete from products; xa end 'b'; xa commit 'b' one phase");
    assert_eq!(follow.changes(&*source).await.len(), 2);
    // Prepared before the feed began.
    lab.run("xa start 'c'; insert into products values (3, 'x', 1, 1); xa end 'c'; xa prepare 'c'");
    follow.reach_end(&*source).await;
    lab.applied(&follow).await;
    drop(follow);
    let mut follow = Follow::new(lab.feed()).await;
    lab.run("xa commit 'c'");
    assert_eq!(follow.changes(&*source).await, ["truncate products"]);
}

#[tokio::test]
async fn a_table_that_was_altered_counts_as_changed_and_is_checked_again() {
    let lab = MariaDbLab::new();
    lab.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut follow, source) = caught_up(&lab).await;
    lab.run("alter table products add column size int first");
    while follow.commits.is_empty() {
        follow.event().await.unwrap();
    }
    lab.applied(&follow).await;
    started_again(&mut follow).await;
    assert_eq!(follow.take().len(), 1);
    lab.run("update products set price_cents = 300");
    assert_eq!(follow.changes(&*source).await, ["update 1|Tea|7|250 -> 1|Tea|7|300"]);
    // From now on rows would go without a trace in the log.
    lab.run(
        "create table categories(id int primary key); insert into categories values (7); \
         alter table products add foreign key (category_id) references categories(id) \
         on delete cascade",
    );
    let lost = tokio::time::timeout(LIMIT, async {
        loop {
            match follow.event().await.unwrap() {
                FeedEvent::Lost(err @ FeedError::Setup(_)) => return err.to_string(),
                FeedEvent::Piece(_) => lab.applied(&follow).await,
                _ => {}
            }
        }
    });
    let lost = lost.await.unwrap();
    assert!(lost.contains("ON DELETE CASCADE"), "{lost}");
    assert!(lost.contains("alter table `shop`.`products` drop foreign key"), "{lost}");
}

#[tokio::test]
async fn a_transaction_too_large_to_list_is_told_as_a_change_of_everything_in_its_tables() {
    let lab = MariaDbLab::new();
    let mut follow = Follow::new(lab.own_feed(|options| options.max_changes = 10)).await;
    lab.run("insert into products select seq, 'x', 1, 1 from seq_1_to_11");
    assert_eq!(follow.changes(&*lab.source()).await, ["truncate products"]);
    lab.run("delete from products where id <= 10");
    assert_eq!(follow.changes(&*lab.source()).await.len(), 10);
}

#[tokio::test]
async fn a_log_that_was_purged_or_begun_anew_is_followed_from_its_end() {
    let lab = MariaDbLab::new();
    let (follow, source) = caught_up(&lab).await;
    lab.applied(&follow).await;
    assert_eq!(follow.start.slot_generation, None);
    drop(follow);
    lab.run("flush binary logs; insert into products values (1, 'Tea', 7, 250)");
    let last = lab.server.sql("show master status").unwrap();
    let file = last.split('\t').next().unwrap().to_owned();
    lab.run(&format!("purge binary logs to '{file}'"));
    let mut follow = Follow::new(lab.feed()).await;
    assert!(follow.start.slot_generation.is_some(), "what was purged is not known");
    lab.run("insert into products values (2, 'Cup', 8, 900)");
    assert_eq!(follow.changes(&*source).await, ["insert -> 2|Cup|8|900"]);
    lab.applied(&follow).await;

    let timeline = follow.start.timeline;
    lab.run("reset master");
    started_again(&mut follow).await;
    assert!(follow.start.slot_generation.is_some() && follow.start.timeline != timeline);
    assert_eq!(source.log_end().await.unwrap().timeline, follow.start.timeline);
    lab.run("insert into products values (3, 'Jug', 8, 900)");
    assert_eq!(follow.changes(&*source).await, ["insert -> 3|Jug|8|900"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_and_a_crashed_server_are_followed_on_and_the_break_is_told() {
    let mut lab = MariaDbLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    let mut before = follow.start.clone();
    for (id, crash) in [(1, false), (2, true)] {
        // Times are told in whole seconds.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        if crash {
            lab.server.crash().unwrap();
        } else {
            lab.server.stop().unwrap();
        }
        lab.server.start_again().unwrap();
        started_again(&mut follow).await;
        assert!(!follow.start.unbroken);
        assert_ne!(follow.start.server_started, before.server_started);
        assert_eq!(follow.start.system, before.system);
        lab.run(&format!("insert into products values ({id}, 'Tea', 7, 250)"));
        let end = tokio::time::timeout(LIMIT, async {
            loop {
                match source.log_end().await {
                    Ok(end) => return end,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        follow.reach(end.await.unwrap().lsn).await;
        let changes: Vec<String> =
            follow.take().iter().flat_map(|c| &c.changes).map(crate::follow::told).collect();
        assert_eq!(changes, [format!("insert -> {id}|Tea|7|250")]);
        before = follow.start.clone();
    }
}
