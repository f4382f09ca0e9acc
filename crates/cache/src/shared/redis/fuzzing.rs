//! Entry points of fuzz tests: the parsers of bytes from Redis, with their invariants.

use super::entry_format;
use super::message;
use super::reply::Reply;
use crate::shared::tier::NodeMessage;

/// Parses a stored entry.
///
/// # Panics
/// Where an invariant does not hold.
pub fn entry(bytes: &[u8]) {
    let Some(entry) = entry_format::decode(bytes.to_vec()) else { return };
    let mut again = format!("tg3 0.0.0.0 {} 0", entry.tau.0).into_bytes();
    again.extend(entry_format::encode(&entry));
    let decoded = entry_format::decode(again).expect("an encoded entry has its form");
    assert_eq!((&decoded.content, &decoded.tags), (&entry.content, &entry.tags));
}

/// Parses a message of the node stream.
///
/// # Panics
/// Where an invariant does not hold.
pub fn node_message(bytes: &[u8]) {
    let _ = message::decode("evict", bytes);
    if let Some(NodeMessage::Batch(batch)) = message::decode("batch", bytes) {
        let again = message::decode("batch", message::encode_batch(&batch).as_bytes());
        let Some(NodeMessage::Batch(again)) = again else { panic!("a batch has its form") };
        assert_eq!((again.events.len(), again.upto), (batch.events.len(), batch.upto));
    }
}

/// Parses a reply of Redis, as it comes from the socket.
pub fn reply(bytes: &[u8]) {
    let Ok(value) = redis::parse_redis_value(bytes) else { return };
    let Ok((_, mut reply)) = Reply::parse(value) else { return };
    while !reply.is_empty() {
        let _ = reply.position();
        let _ = reply.text();
        let _ = reply.number();
        let _ = reply.bytes();
    }
}
