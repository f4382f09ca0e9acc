//! The node stream: one connection that waits, and never a silent gap.
//!
//! Messages carry numbers without gaps. A subscription knows the last one it gave on; whatever
//! happens to the stream, the connection or the server, the next message either has the next
//! number or [`NodeMessage::Lost`] comes before it. A receiver that is slow holds up only itself:
//! the stream keeps its messages, and if it is trimmed in the meantime, that is a gap like any
//! other.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamReadReply};
use redis::{AsyncConnectionConfig, Client, Value};
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::super::{NodeMessage, TierError};
use super::line::Up;
use super::lines::Lines;
use super::message;
use super::metrics::RedisMetrics;
use super::names::Names;
use super::reply::{Reply, failed};
use super::scripts::Scripts;

/// Redis answers an idle reader at least this often, so a dead connection is noticed.
const BLOCK: Duration = Duration::from_secs(1);
/// What connecting, asking for the position, or an answer past [`BLOCK`] may take.
const PATIENCE: Duration = Duration::from_secs(1);
const MESSAGES_PER_READ: usize = 128;
const BACKOFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// One subscription; runs until its receiver is dropped.
pub(super) struct Subscription {
    pub(super) lines: Lines,
    pub(super) names: Names,
    pub(super) scripts: Arc<Scripts>,
    pub(super) messages: Sender<NodeMessage>,
    pub(super) metrics: RedisMetrics,
}

/// The last message that was given on.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Cursor {
    /// Its id in the stream.
    id: String,
    /// Its number.
    sent: u64,
    /// The tier's epoch then; empty: none.
    epoch: String,
    /// The server it was read from. Another one may have given the same number to something else.
    server: String,
}

/// Where the stream ends, and the number of the message under the cursor if it is still there.
struct End {
    at: Cursor,
    known: Option<u64>,
}

/// The receiver is gone.
struct Closed;

impl Subscription {
    pub(super) async fn run(self) {
        let messages = self.messages.clone();
        tokio::select! {
            () = messages.closed() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&self) {
        let mut cursor = None;
        let mut delay = BACKOFF[0];
        loop {
            let before = cursor.clone();
            match self.read(&mut cursor).await {
                Ok(Closed) => return,
                Err(err) => tracing::warn!(error = %err, "the node stream broke, connecting again"),
            }
            self.metrics.reconnects.inc();
            self.lines.doubt();
            delay = if cursor == before { (delay * 2).min(BACKOFF[1]) } else { BACKOFF[0] };
            tokio::time::sleep(delay).await;
        }
    }

    /// Reads on one connection until it breaks.
    async fn read(&self, cursor: &mut Option<Cursor>) -> Result<Closed, TierError> {
        let up = self.lines.up(0).await?;
        tokio::select! {
            read = self.read_from(&up, cursor) => read,
            // This server answers perhaps, but it is not the primary any more.
            () = self.lines.moved(0, &up) => Err(TierError::Unavailable("the primary has changed".into())),
        }
    }

    async fn read_from(&self, up: &Up, cursor: &mut Option<Cursor>) -> Result<Closed, TierError> {
        let mut connection = connect(up).await?;
        let server = up.info.addr().to_string();
        let end = self.end(&mut connection, &server, cursor.as_ref()).await?;
        let mut here = match cursor.take() {
            Some(last) if last.is_continued_by(&end) => last,
            _ => match self.lost(end).await {
                Ok(at) => at,
                Err(Closed) => return Ok(Closed),
            },
        };
        loop {
            *cursor = Some(here.clone());
            let entries = self.wait(&mut connection, &here.id).await?;
            // Silence is looked into: a stream that was begun anew under a clock that was set back
            // would not reach our id for a long time.
            let mut good = !entries.is_empty() || {
                let end = self.end(&mut connection, &server, Some(&here)).await?;
                here.is_continued_by(&end)
            };
            for entry in &entries {
                let Some(message) = here.take(entry) else {
                    good = false;
                    break;
                };
                if self.messages.send(message).await.is_err() {
                    return Ok(Closed);
                }
            }
            if !good {
                *cursor = Some(here);
                let end = self.end(&mut connection, &server, None).await?;
                match self.lost(end).await {
                    Ok(at) => here = at,
                    Err(Closed) => return Ok(Closed),
                }
            }
        }
    }

    /// Goes on from the end, which was looked up *before* the receiver hears of the loss: what it
    /// then learns about the tier's standing is at least as new.
    async fn lost(&self, end: End) -> Result<Cursor, Closed> {
        self.metrics.losses.inc();
        match self.messages.send(NodeMessage::Lost).await {
            Ok(()) => Ok(end.at),
            Err(_) => Err(Closed),
        }
    }

    async fn end(
        &self,
        connection: &mut MultiplexedConnection,
        server: &str,
        cursor: Option<&Cursor>,
    ) -> Result<End, TierError> {
        let Names { state, tombstones, stream, .. } = &self.names;
        let mut call = self.scripts.position.prepare_invoke();
        call.key(state).key(tombstones).key(stream).arg(cursor.map_or("", |cursor| &cursor.id));
        let value: Value = within(PATIENCE, call.invoke_async(connection)).await?;
        let (malformed, mut reply) = Reply::open(value)?;
        self.metrics.malformed.inc_by(malformed);
        let epoch = reply.text()?;
        let sent = reply.number()?;
        let id = reply.text()?;
        let known = reply.text()?.parse().ok();
        Ok(End { at: Cursor { id, sent, epoch, server: server.to_owned() }, known })
    }

    async fn wait(
        &self,
        connection: &mut MultiplexedConnection,
        after: &str,
    ) -> Result<Vec<StreamId>, TierError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(MESSAGES_PER_READ).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(&self.names.stream).arg(after);
        let asked = command.query_async::<Option<StreamReadReply>>(connection);
        let reply = within(BLOCK + PATIENCE, asked).await?;
        let keys = reply.map(|reply| reply.keys).unwrap_or_default();
        Ok(keys.into_iter().flat_map(|key| key.ids).collect())
    }
}

impl Cursor {
    /// Whether nothing between this message and the stream's end can be missing, so that reading
    /// on from here is enough. Anything else (trimmed, flushed, rolled back, begun anew) is a loss.
    fn is_continued_by(&self, end: &End) -> bool {
        let still_there = match end.known {
            Some(number) => number == self.sent,
            None => *self == end.at,
        };
        let same = self.epoch == end.at.epoch && self.server == end.at.server;
        still_there && same && self.sent <= end.at.sent
    }

    /// Moves onto the entry; `None` if it is not the next one, or not of our making.
    fn take(&mut self, entry: &StreamId) -> Option<NodeMessage> {
        let number: u64 = entry.get("n")?;
        if number != self.sent + 1 {
            return None;
        }
        let message = ["batch", "evict"].iter().find_map(|field| {
            let Some(Value::BulkString(text)) = entry.map.get(*field) else { return None };
            message::decode(field, text)
        })?;
        self.id.clone_from(&entry.id);
        self.sent = number;
        if let NodeMessage::Batch(batch) = &message {
            self.epoch = batch.epoch.to_string();
        }
        Some(message)
    }
}

async fn connect(up: &Up) -> Result<MultiplexedConnection, TierError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(None);
    let client = Client::open(redis::ConnectionInfo::clone(&up.info));
    let client = client.map_err(|err| failed(&err, PATIENCE))?;
    within(PATIENCE, client.get_multiplexed_async_connection_with_config(&config)).await
}

async fn within<T>(
    limit: Duration,
    asked: impl Future<Output = redis::RedisResult<T>>,
) -> Result<T, TierError> {
    match timeout(limit, asked).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(err)) => Err(failed(&err, limit)),
        Err(_) => Err(TierError::Timeout(limit)),
    }
}
