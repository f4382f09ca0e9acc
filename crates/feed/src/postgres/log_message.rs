//! Parser of a replication stream's messages, and of the begins, commits and logical messages in them.
//!
//! <https://www.postgresql.org/docs/current/protocol-replication.html>

use bytes::Bytes;
use coherence::Lsn;

use super::parser::Cursor;

/// One message of a replication stream.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum StreamMessage {
    /// A transaction begins. Its time of commit is in µs since 2000-01-01.
    Begin { xid: u32, commit_time_us: i64 },
    /// A transaction has ended.
    Commit { end: Lsn },
    /// A logical message.
    Logical { transactional: bool, prefix: String, content: Bytes },
    /// A `pgoutput` message about rows or tables.
    Change(Bytes),
    /// The server has read the log up to `end`.
    KeepAlive {
        end: Lsn,
        /// The server ends the connection unless it gets an answer soon.
        wants_reply: bool,
    },
}

impl StreamMessage {
    /// Parses a message; `None`: it is malformed, or of a type that was not asked for.
    pub(super) fn parse(bytes: &Bytes) -> Option<Self> {
        let mut from = Cursor { bytes };
        match from.u8().ok()? {
            b'k' => {
                let (end, _time) = (from.u64().ok()?, from.u64().ok()?);
                Some(Self::KeepAlive { end: Lsn(end), wants_reply: from.u8().ok()? == 1 })
            }
            b'w' => {
                let (_start, _end, _time) = (from.u64().ok()?, from.u64().ok()?, from.u64().ok()?);
                Self::of_log(&bytes.slice_ref(from.bytes))
            }
            _ => None,
        }
    }

    fn of_log(bytes: &Bytes) -> Option<Self> {
        let mut from = Cursor { bytes };
        Some(match from.u8().ok()? {
            b'B' => {
                let (_final, time) = (from.u64().ok()?, from.u64().ok()?);
                Self::Begin { commit_time_us: time.cast_signed(), xid: from.u32().ok()? }
            }
            b'C' => {
                let (_flags, _commit) = (from.u8().ok()?, from.u64().ok()?);
                Self::Commit { end: Lsn(from.u64().ok()?) }
            }
            b'M' => {
                let transactional = from.u8().ok()? & 1 == 1;
                from.u64().ok()?;
                let prefix = from.text().ok()?.to_owned();
                let length = from.u32().ok()? as usize;
                let content = bytes.slice_ref(from.take(length).ok()?);
                Self::Logical { transactional, prefix, content }
            }
            _ => Self::Change(bytes.clone()),
        })
    }
}

/// Returns the message that tells the server that everything up to `upto` was applied.
pub(super) fn standby_status(upto: Lsn) -> [u8; 34] {
    let mut message = [0; 34];
    message[0] = b'r';
    for (at, position) in [upto.0; 3].into_iter().enumerate() {
        let start = 1 + 8 * at;
        message[start..start + 8].copy_from_slice(&position.to_be_bytes());
    }
    // The client's time and the request for a reply stay 0: the server only shows the time.
    message
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};

    use super::*;

    fn log(kind: u8, fields: &[&[u8]]) -> Bytes {
        let mut message = vec![b'w'];
        message.extend([0; 24]);
        message.push(kind);
        message.extend(fields.concat());
        message.into()
    }

    #[test]
    fn transaction_parsed() {
        let begin = log(b'B', &[&9_u64.to_be_bytes(), &7_i64.to_be_bytes(), &5_u32.to_be_bytes()]);
        let expected = StreamMessage::Begin { xid: 5, commit_time_us: 7 };
        assert_eq!(StreamMessage::parse(&begin), Some(expected));
        let fields: [&[u8]; 4] = [&[0], &8_u64.to_be_bytes(), &9_u64.to_be_bytes(), &[0; 8]];
        let commit = StreamMessage::parse(&log(b'C', &fields));
        assert_eq!(commit, Some(StreamMessage::Commit { end: Lsn(9) }));
        let fields: [&[u8]; 4] = [&[1], &[0; 8], b"tidegate\0", &3_u32.to_be_bytes()];
        let mut message = log(b'M', &fields).to_vec();
        assert_eq!(StreamMessage::parse(&message.clone().into()), None, "its content is missing");
        message.extend(b"abc");
        let expected = StreamMessage::Logical {
            transactional: true,
            prefix: "tidegate".to_owned(),
            content: Bytes::from_static(b"abc"),
        };
        assert_eq!(StreamMessage::parse(&message.into()), Some(expected));
        let change = StreamMessage::parse(&log(b'I', &[b"row"]));
        assert_eq!(change, Some(StreamMessage::Change(Bytes::from_static(b"Irow"))));
    }

    #[test]
    fn keepalive_parsed() {
        let mut message = vec![b'k'];
        message.extend(3_u64.to_be_bytes());
        message.extend([0; 8]);
        message.push(1);
        let expected = StreamMessage::KeepAlive { end: Lsn(3), wants_reply: true };
        assert_eq!(StreamMessage::parse(&message.into()), Some(expected));
    }

    #[test]
    fn status_repeats_position() {
        let status = standby_status(Lsn(0x0102_0304_0506_0708));
        assert_eq!(status[..9], [b'r', 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((&status[9..17], &status[17..25]), (&status[1..9], &status[1..9]));
        assert_eq!(status[25..], [0; 9]);
    }

    proptest! {
        #[test]
        fn any_bytes_parsed(bytes in vec(any::<u8>(), 0..64), kind in 0_usize..5) {
            let mut message = vec![[b'k', b'w', b'w', b'w', 0][kind]];
            message.extend(bytes);
            let _ = StreamMessage::parse(&message.into());
        }
    }
}
