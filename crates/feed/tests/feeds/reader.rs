//! Reads a feed and checks every batch against the rules of the chain.

use std::time::Duration;

use coherence::Lsn;
use contract::{Cell, Op, RowChange};
use feed::{Commit, Feed, FeedError, FeedEvent, LogBatch, LogMessage, Source, StreamStart};

/// A timeout for a loaded machine; a test that waits this long has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct FeedReader {
    pub(crate) feed: Box<dyn Feed>,
    pub(crate) start: StreamStart,
    pub(crate) upto: Lsn,
    pub(crate) watermark: Lsn,
    /// Delivered and not taken yet.
    pub(crate) commits: Vec<Commit>,
}

impl FeedReader {
    /// Waits until the feed leads.
    pub(crate) async fn new(mut feed: Box<dyn Feed>) -> Self {
        let start = started(&mut feed).await;
        let (upto, watermark) = (start.position, Lsn::ZERO);
        Self { feed, start, upto, watermark, commits: Vec::new() }
    }

    /// Waits for the next event; a batch is checked and recorded.
    pub(crate) async fn next_event(&mut self) -> Result<FeedEvent, FeedError> {
        let event = next(&mut self.feed).await?;
        match &event {
            FeedEvent::Batch(batch) => self.check(batch),
            FeedEvent::Started(start) => {
                self.start = start.clone();
                self.upto = start.position;
                self.watermark = Lsn::ZERO;
            }
            FeedEvent::Standby | FeedEvent::Lost(_) => {}
        }
        Ok(event)
    }

    fn check(&mut self, batch: &LogBatch) {
        assert_eq!(batch.prev, self.upto, "the chain has no gap");
        assert!(batch.upto >= batch.prev, "the chain advances");
        assert!(batch.watermark >= self.watermark, "W advances");
        assert!(batch.watermark <= batch.upto, "W is not ahead of the delivered position");
        let mut last = batch.prev;
        for commit in &batch.commits {
            assert!(commit.lsn > last, "commits are in order and inside the batch");
            assert!(commit.committed_us > 1_500_000_000_000_000 || commit.committed_us == 0);
            last = commit.lsn;
        }
        assert!(last <= batch.upto);
        (self.upto, self.watermark) = (batch.upto, batch.watermark);
        self.commits.extend(batch.commits.iter().cloned());
    }

    /// Reads until everything up to `position` is delivered and visible.
    pub(crate) async fn read_to(&mut self, position: Lsn) {
        while self.upto < position || self.watermark < position {
            match self.next_event().await.expect("the feed continues") {
                FeedEvent::Batch(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// Reads to the present end of the log and returns the changes.
    pub(crate) async fn changes_to_end(&mut self, source: &dyn Source) -> Vec<String> {
        self.read_to_end(source).await;
        self.take_commits().iter().flat_map(|commit| &commit.changes).map(describe).collect()
    }

    pub(crate) async fn messages_to_end(&mut self, source: &dyn Source) -> Vec<LogMessage> {
        self.read_to_end(source).await;
        self.take_commits().into_iter().flat_map(|commit| commit.messages).collect()
    }

    pub(crate) async fn read_to_end(&mut self, source: &dyn Source) {
        let end = source.log_end().await.expect("the log has an end").lsn;
        source.nudge().await.expect("nudged");
        self.read_to(end).await;
    }

    pub(crate) fn take_commits(&mut self) -> Vec<Commit> {
        std::mem::take(&mut self.commits)
    }
}

pub(crate) async fn next(feed: &mut Box<dyn Feed>) -> Result<FeedEvent, FeedError> {
    tokio::time::timeout(LIMIT, feed.next()).await.expect("an event before the limit")
}

pub(crate) async fn started(feed: &mut Box<dyn Feed>) -> StreamStart {
    loop {
        if let FeedEvent::Started(start) = next(feed).await.expect("the feed starts") {
            return start;
        }
    }
}

/// Formats a change: `update 1|Tea|7|250 -> 1|Tea|7|300`. Unknown values are omitted, `~` is
/// unchanged.
pub(crate) fn describe(change: &RowChange) -> String {
    let row = |row: &Option<contract::Row>| {
        let cell = |cell: &Cell| match cell {
            Cell::Null => "null".to_owned(),
            Cell::Text(text) if text.len() > 100 => format!("{} bytes", text.len()),
            Cell::Text(text) => text.clone(),
            Cell::Unchanged => "~".to_owned(),
        };
        row.as_ref().map(|row| row.iter().map(|(_, c)| cell(c)).collect::<Vec<_>>().join("|"))
    };
    assert_eq!(&*change.source, "shop");
    let op = match change.op {
        Op::Insert => "insert",
        Op::Update => "update",
        Op::Delete => "delete",
        Op::Truncate => "truncate",
    };
    match (row(&change.old), row(&change.new)) {
        (None, None) => format!("{op} {}", change.table),
        (Some(old), Some(new)) => format!("{op} {old} -> {new}"),
        (Some(row), None) => format!("{op} {row} ->"),
        (None, Some(row)) => format!("{op} -> {row}"),
    }
}
