//! The node stream: one connection that waits for messages, and never a silent gap.
//!
//! Messages are numbered without gaps. A subscription knows the number of the last message that it
//! delivered. In every failure of the stream, the connection or the server, the next message either has
//! the next number or is preceded by [`NodeMessage::Lost`]. A slow receiver delays only itself: the
//! stream keeps its messages, and if the stream is trimmed meanwhile, that is a gap like any other.

use std::sync::Arc;
use std::time::Duration;

use coherence::Clock;
use redis::Value;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamReadReply};
use redis_transport::{Connected, Router, reply_within};
use tokio::sync::mpsc::Sender;

use super::key_names::KeyNames;
use super::message;
use super::metrics::RedisMetrics;
use super::reply::Reply;
use super::scripts::Scripts;
use super::signatures::{Code, Signatures};
use crate::clock::SystemClock;
use crate::shared::error::TierError;
use crate::shared::tier::NodeMessage;

/// How often Redis replies to an idle reader, so that a dead connection is noticed.
const BLOCK: Duration = Duration::from_secs(1);
/// The time limit of connecting, of reading the position, and of a reply after [`BLOCK`].
const STREAM_TIMEOUT: Duration = Duration::from_secs(1);
const MESSAGES_PER_READ: usize = 128;
const BACKOFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// A subscription. It runs until its receiver is dropped.
pub(super) struct Subscription {
    pub(super) router: Router,
    pub(super) names: KeyNames,
    pub(super) scripts: Arc<Scripts>,
    pub(super) messages: Sender<NodeMessage>,
    pub(super) metrics: RedisMetrics,
    pub(super) signatures: Signatures,
    pub(super) clock: SystemClock,
}

/// The last message that was delivered.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Cursor {
    /// Its id in the stream.
    id: String,
    /// Its number.
    sent: u64,
    /// The tier's epoch at that time; empty: none.
    epoch: String,
    /// The server that it was read from. Another server may have given its number to another message.
    server: String,
}

/// The end of the stream, and the number of the message at the cursor if it is still in the stream.
struct StreamEnd {
    last: Cursor,
    at_cursor: Option<u64>,
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
            self.router.request_refresh();
            delay = if cursor == before { (delay * 2).min(BACKOFF[1]) } else { BACKOFF[0] };
            tokio::time::sleep(delay).await;
        }
    }

    /// Reads on one connection until it breaks.
    async fn read(&self, cursor: &mut Option<Cursor>) -> Result<Closed, TierError> {
        let connected = self.router.connected(0).await?;
        tokio::select! {
            read = self.read_from(&connected, cursor) => read,
            // The server may go on answering, but it is not the primary any more.
            () = self.router.moved(0, &connected) => {
                Err(TierError::Unavailable("the primary has changed".into()))
            }
        }
    }

    async fn read_from(
        &self,
        connected: &Connected,
        cursor: &mut Option<Cursor>,
    ) -> Result<Closed, TierError> {
        let mut connection = connected.open_dedicated(STREAM_TIMEOUT).await?;
        let server = connected.address();
        let end = self.stream_end(&mut connection, &server, cursor.as_ref()).await?;
        let mut current = match cursor.take() {
            Some(last) if last.is_continued_by(&end) => last,
            _ => match self.lost(end).await {
                Ok(last) => last,
                Err(Closed) => return Ok(Closed),
            },
        };
        // The signature of the last batch: chunks of one batch are chained by it.
        let mut last_code = None;
        loop {
            *cursor = Some(current.clone());
            let entries = self.wait(&mut connection, &current.id).await?;
            // Silence is checked: a new stream under a clock that was set back would not reach this id for a
            // long time.
            let mut continued = !entries.is_empty() || {
                let end = self.stream_end(&mut connection, &server, Some(&current)).await?;
                current.is_continued_by(&end)
            };
            for entry in &entries {
                let Some(message) = self.verify(entry, &mut last_code, &mut current) else {
                    continued = false;
                    break;
                };
                if self.messages.send(message).await.is_err() {
                    return Ok(Closed);
                }
            }
            if !continued {
                *cursor = Some(current);
                let end = self.stream_end(&mut connection, &server, None).await?;
                match self.lost(end).await {
                    Ok(last) => current = last,
                    Err(Closed) => return Ok(Closed),
                }
            }
        }
    }

    /// Advances to an entry and returns its message. `None`: it is not the next one, or malformed, or its signature
    /// does not allow its use.
    fn verify(
        &self,
        entry: &StreamId,
        last_code: &mut Option<Code>,
        cursor: &mut Cursor,
    ) -> Option<NodeMessage> {
        let (field, text) = fields(entry)?;
        let signature: Option<String> = entry.get("mac");
        let stream = &self.names.stream;
        match self.signatures.verify_text(stream, field, signature.as_deref(), text) {
            Ok(Some(signed)) if field == "batch" => {
                if signed.after.is_some() && signed.after != *last_code {
                    // A chunk before it is missing.
                    return None;
                }
                *last_code = Some(signed.code);
            }
            Ok(_) => {}
            Err(why) => {
                self.metrics.refuse("a message of the node stream", why, self.clock.wall_ms());
                return None;
            }
        }
        cursor.advance(entry, message::decode(field, text)?)
    }

    /// Continues from the end, which was read *before* the receiver learns of the loss: the position that it
    /// reads then is at least as new.
    async fn lost(&self, end: StreamEnd) -> Result<Cursor, Closed> {
        self.metrics.losses.inc();
        match self.messages.send(NodeMessage::Lost).await {
            Ok(()) => Ok(end.last),
            Err(_) => Err(Closed),
        }
    }

    async fn stream_end(
        &self,
        connection: &mut MultiplexedConnection,
        server: &str,
        cursor: Option<&Cursor>,
    ) -> Result<StreamEnd, TierError> {
        let KeyNames { state, tombstones, stream, .. } = &self.names;
        let mut call = self.scripts.stream_position.prepare_invoke();
        call.key(state).key(tombstones).key(stream).arg(cursor.map_or("", |cursor| &cursor.id));
        let value: Value = reply_within(STREAM_TIMEOUT, call.invoke_async(connection)).await?;
        let (malformed, mut reply) = Reply::parse(value)?;
        self.metrics.malformed.inc_by(malformed);
        let epoch = reply.text()?;
        let sent = reply.number()?;
        let id = reply.text()?;
        let at_cursor = reply.text()?.parse().ok();
        let last = Cursor { id, sent, epoch, server: server.to_owned() };
        Ok(StreamEnd { last, at_cursor })
    }

    async fn wait(
        &self,
        connection: &mut MultiplexedConnection,
        after: &str,
    ) -> Result<Vec<StreamId>, TierError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(MESSAGES_PER_READ).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(&self.names.stream).arg(after);
        let read = command.query_async::<Option<StreamReadReply>>(connection);
        let reply = reply_within(BLOCK + STREAM_TIMEOUT, read).await?;
        let keys = reply.map(|reply| reply.keys).unwrap_or_default();
        Ok(keys.into_iter().flat_map(|key| key.ids).collect())
    }
}

impl Cursor {
    /// Whether the stream has every message between this one and its end, so that it can be read on from
    /// here. A stream that was trimmed, flushed, rolled back or replaced is a loss.
    fn is_continued_by(&self, end: &StreamEnd) -> bool {
        let still_there = match end.at_cursor {
            Some(number) => number == self.sent,
            None => *self == end.last,
        };
        let same = self.epoch == end.last.epoch && self.server == end.last.server;
        still_there && same && self.sent <= end.last.sent
    }

    /// Advances to the entry and returns its message. `None`: it is not the next one.
    fn advance(&mut self, entry: &StreamId, message: NodeMessage) -> Option<NodeMessage> {
        let number: u64 = entry.get("n")?;
        if number != self.sent + 1 {
            return None;
        }
        self.id.clone_from(&entry.id);
        self.sent = number;
        if let NodeMessage::Batch(batch) = &message {
            self.epoch = batch.epoch.to_string();
        }
        Some(message)
    }
}

/// Returns the kind of an entry's message, and its text.
fn fields(entry: &StreamId) -> Option<(&'static str, &[u8])> {
    ["batch", "evict"].into_iter().find_map(|field| match entry.map.get(field) {
        Some(Value::BulkString(text)) => Some((field, text.as_slice())),
        _ => None,
    })
}
