//! Reads a feed and holds every piece against the rules of the chain.

use std::time::Duration;

use coherence::Lsn;
use contract::{Cell, Op, RowChange};
use feed::{Commit, Feed, FeedError, FeedEvent, LogMessage, Piece, Source, Start};

/// Long enough for a loaded machine; a test that waits this long has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Follow {
    pub(crate) feed: Box<dyn Feed>,
    pub(crate) start: Start,
    pub(crate) upto: Lsn,
    pub(crate) watermark: Lsn,
    /// Delivered and not taken yet.
    pub(crate) commits: Vec<Commit>,
}

impl Follow {
    /// Waits until the feed leads.
    pub(crate) async fn new(mut feed: Box<dyn Feed>) -> Self {
        let start = started(&mut feed).await;
        let (upto, watermark) = (start.position, Lsn::ZERO);
        Self { feed, start, upto, watermark, commits: Vec::new() }
    }

    /// The next event; a piece is checked and noted.
    pub(crate) async fn event(&mut self) -> Result<FeedEvent, FeedError> {
        let event = next(&mut self.feed).await?;
        match &event {
            FeedEvent::Piece(piece) => self.note(piece),
            FeedEvent::Started(start) => {
                self.start = start.clone();
                self.upto = start.position;
                self.watermark = Lsn::ZERO;
            }
            FeedEvent::Standby | FeedEvent::Lost(_) => {}
        }
        Ok(event)
    }

    fn note(&mut self, piece: &Piece) {
        assert_eq!(piece.prev, self.upto, "the chain has no gap");
        assert!(piece.upto >= piece.prev, "the chain goes forward");
        assert!(piece.watermark >= self.watermark, "W goes forward");
        assert!(piece.watermark <= piece.upto, "W is not ahead of what was delivered");
        let mut last = piece.prev;
        for commit in &piece.commits {
            assert!(commit.lsn > last, "commits are in order and inside the piece");
            assert!(commit.committed_us > 1_500_000_000_000_000 || commit.committed_us == 0);
            last = commit.lsn;
        }
        assert!(last <= piece.upto);
        (self.upto, self.watermark) = (piece.upto, piece.watermark);
        self.commits.extend(piece.commits.iter().cloned());
    }

    /// Follows until everything up to `position` is delivered and visible.
    pub(crate) async fn reach(&mut self, position: Lsn) {
        while self.upto < position || self.watermark < position {
            match self.event().await.expect("the feed goes on") {
                FeedEvent::Piece(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// Follows to the present end of the log and answers the changes on the way.
    pub(crate) async fn changes(&mut self, source: &dyn Source) -> Vec<String> {
        self.reach_end(source).await;
        self.take().iter().flat_map(|commit| &commit.changes).map(told).collect()
    }

    pub(crate) async fn messages(&mut self, source: &dyn Source) -> Vec<LogMessage> {
        self.reach_end(source).await;
        self.take().into_iter().flat_map(|commit| commit.messages).collect()
    }

    pub(crate) async fn reach_end(&mut self, source: &dyn Source) {
        let end = source.log_end().await.expect("the log has an end").lsn;
        source.nudge().await.expect("nudged");
        self.reach(end).await;
    }

    pub(crate) fn take(&mut self) -> Vec<Commit> {
        std::mem::take(&mut self.commits)
    }
}

pub(crate) async fn next(feed: &mut Box<dyn Feed>) -> Result<FeedEvent, FeedError> {
    tokio::time::timeout(LIMIT, feed.next()).await.expect("something happens in time")
}

pub(crate) async fn started(feed: &mut Box<dyn Feed>) -> Start {
    loop {
        if let FeedEvent::Started(start) = next(feed).await.expect("the feed starts") {
            return start;
        }
    }
}

/// `update 1|Tea|7|250 -> 1|Tea|7|300`; what is unknown is left out, `~` is unchanged.
pub(crate) fn told(change: &RowChange) -> String {
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
