use proptest::prelude::*;

use super::*;

const NONCE: u64 = 7;

fn event(xid: u32, ordinal: u64, after: u64) -> RelayMessage {
    RelayMessage::Event { xid, ordinal, after: Some(Lsn(after)), heartbeat: None }
}

fn heartbeat(xid: u32, number: u64, after: u64) -> [RelayMessage; 3] {
    let heartbeat = Some((NONCE, number));
    let event = RelayMessage::Event { xid, ordinal: 1, after: Some(Lsn(after)), heartbeat };
    [RelayMessage::Begin { xid }, event, end(xid, after + 1, 1)]
}

fn end(xid: u32, end: u64, count: u64) -> RelayMessage {
    RelayMessage::End { xid, end: Lsn(end), count }
}

/// Takes the messages and returns the result of the last one; none before it may fail.
fn last(relay: &mut Relay, messages: &[RelayMessage]) -> Result<RelayStatus, RelayGap> {
    let mut status = Ok(RelayStatus::NoChange);
    for (at, message) in messages.iter().enumerate() {
        status = relay.step(*message);
        assert!(status.is_ok() || at + 1 == messages.len(), "{message:?}: {status:?}");
    }
    status
}

const NEW: Result<RelayStatus, RelayGap> = Ok(RelayStatus::Pending { is_new: true });

#[test]
fn transaction_complete_at_its_end() {
    let mut relay = Relay::resuming(NONCE, Lsn(10));
    assert_eq!(relay.step(RelayMessage::Begin { xid: 1 }), Ok(RelayStatus::NoChange));
    assert_eq!(relay.step(event(1, 1, 10)), NEW);
    assert_eq!(relay.step(event(1, 2, 10)), NEW);
    assert_eq!(relay.step(end(1, 20, 2)), Ok(RelayStatus::Complete));
    assert_eq!(
        relay.step(end(1, 20, 2)),
        Ok(RelayStatus::Repeated),
        "its acknowledgement was lost"
    );
}

#[test]
fn missing_event_detected_at_end() {
    for messages in [vec![1, 3], vec![2, 3], vec![1, 2], vec![]] {
        let mut relay = Relay::resuming(NONCE, Lsn(10));
        relay.step(RelayMessage::Begin { xid: 1 }).expect("no gap");
        for ordinal in &messages {
            relay.step(event(1, *ordinal, 10)).expect("no gap");
        }
        let result = relay.step(end(1, 20, 3));
        assert!(
            matches!(result, Err(RelayGap::Events { count: 3, .. })),
            "{messages:?}: {result:?}"
        );
    }
}

#[test]
fn missing_transaction_detected_at_next_event() {
    let mut relay = Relay::resuming(NONCE, Lsn(10));
    let result = last(&mut relay, &[RelayMessage::Begin { xid: 2 }, event(2, 1, 15)]);
    assert_eq!(result, Err(RelayGap::Commit { after: Lsn(15), last: Lsn(10) }));
}

#[test]
fn missing_end_detected() {
    let mut relay = Relay::resuming(NONCE, Lsn(10));
    let messages = [event(1, 1, 10), RelayMessage::Begin { xid: 2 }, end(2, 20, 0)];
    assert_eq!(last(&mut relay, &messages), Err(RelayGap::Unended { xid: 1 }));
}

#[test]
fn restarted_relay_accepted() {
    let mut relay = Relay::resuming(NONCE, Lsn(10));
    let first = [event(1, 1, 10), end(1, 20, 1)];
    assert_eq!(last(&mut relay, &first), Ok(RelayStatus::Complete));
    assert_eq!(last(&mut relay, &[event(2, 1, 20), event(2, 2, 20)]), NEW);
    // The relay restarts at the position that it had stored.
    assert_eq!(relay.step(event(1, 1, 10)), Ok(RelayStatus::Pending { is_new: false }));
    assert_eq!(relay.step(end(1, 20, 1)), Ok(RelayStatus::Repeated));
    assert_eq!(last(&mut relay, &[event(2, 1, 20), event(2, 2, 20)]), NEW);
    assert_eq!(relay.step(end(2, 30, 2)), Ok(RelayStatus::Complete));
}

#[test]
fn takeover_inside_transaction_detected() {
    let mut relay = Relay::resuming(NONCE, Lsn(10));
    assert_eq!(relay.step(event(1, 2, 10)), NEW);
    assert!(matches!(relay.step(end(1, 20, 2)), Err(RelayGap::Events { .. })));
    let mut relay = Relay::resuming(NONCE, Lsn(10));
    assert!(matches!(relay.step(end(1, 20, 2)), Err(RelayGap::Events { seen: 0, .. })));
}

#[test]
fn messages_before_first_heartbeat_ignored() {
    let mut relay = Relay::starting(NONCE);
    for message in [event(1, 3, 5), end(1, 8, 9), RelayMessage::Snapshot, event(2, 1, 8)] {
        assert_eq!(relay.step(message), Ok(RelayStatus::BeforeStart));
    }
    let foreign =
        RelayMessage::Event { xid: 3, ordinal: 1, after: None, heartbeat: Some((NONCE + 1, 4)) };
    assert_eq!(last(&mut relay, &[foreign, end(3, 9, 1)]), Ok(RelayStatus::BeforeStart));
    assert!(!relay.is_confirmed());
    assert_eq!(last(&mut relay, &heartbeat(4, 0, 9)), Ok(RelayStatus::Complete));
    assert!(relay.is_confirmed());
    assert_eq!(last(&mut relay, &[event(5, 1, 10), end(5, 20, 1)]), Ok(RelayStatus::Complete));
}

#[test]
fn missing_heartbeat_detected() {
    let mut relay = Relay::starting(NONCE);
    assert_eq!(last(&mut relay, &heartbeat(1, 1, 0)), Err(RelayGap::Heartbeat { due: 0, came: 1 }));
    let mut relay = Relay::resuming(NONCE, Lsn(10));
    last(&mut relay, &heartbeat(1, 0, 10)).expect("in sequence");
    // The relay was set up again with its old memory: by its own account nothing is missing.
    assert_eq!(
        last(&mut relay, &heartbeat(4, 3, 11)),
        Err(RelayGap::Heartbeat { due: 1, came: 3 })
    );
}

#[test]
fn relay_without_memory_rejected() {
    let mut relay = Relay::resuming(NONCE, Lsn(10));
    assert_eq!(relay.clone().step(RelayMessage::Snapshot), Err(RelayGap::Snapshot));
    let unknown = RelayMessage::Event { xid: 1, ordinal: 1, after: None, heartbeat: None };
    let messages = [unknown, end(1, 20, 1)];
    assert!(matches!(last(&mut relay, &messages), Err(RelayGap::Events { .. })));
}

#[test]
fn non_transactional_message_is_a_predecessor() {
    let mut relay = Relay::resuming(NONCE, Lsn(10));
    assert_eq!(
        relay.step(RelayMessage::NonTransactional { at: Lsn(15) }),
        Ok(RelayStatus::NoChange)
    );
    assert_eq!(last(&mut relay, &[event(1, 1, 15), end(1, 20, 1)]), Ok(RelayStatus::Complete));
}

/// Transaction `n` (from 1) ends at `10 n`; each third one is a heartbeat.
fn log(sizes: &[u64]) -> Vec<RelayMessage> {
    let mut messages = Vec::new();
    let mut heartbeats = 0..;
    for (at, size) in sizes.iter().enumerate() {
        let (xid, before) = (at as u32 + 1, at as u64 * 10);
        messages.push(RelayMessage::Begin { xid });
        let number = if at % 3 == 0 { heartbeats.next() } else { None };
        let size = number.map_or(*size, |_| 1);
        messages.extend((1..=size).map(|ordinal| RelayMessage::Event {
            xid,
            ordinal,
            after: Some(Lsn(before)),
            heartbeat: number.map(|number| (NONCE, number)),
        }));
        messages.push(end(xid, before + 10, size));
    }
    messages
}

fn sizes() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(1_u64..4, 1..12)
}

proptest! {
    /// A relay that keeps its promises, with restarts, never causes a gap.
    #[test]
    fn faithful_relay_never_fails(
        sizes in sizes(),
        restarts in proptest::collection::vec((0_usize..60, 0_usize..60), 0..4),
    ) {
        let log = log(&sizes);
        let mut messages = log.clone();
        for (at, back_to) in restarts {
            let at = at % log.len();
            // The relay stores the positions at which transactions begin.
            let back = (0..=back_to % (at + 1)).rev().find(|n| matches!(log[*n], RelayMessage::Begin { .. }));
            let mut again = log[..at].to_vec();
            again.extend_from_slice(&log[back.unwrap_or(0)..]);
            messages = again;
        }
        let mut relay = Relay::resuming(NONCE, Lsn(0));
        let mut upto = 0;
        for message in messages {
            // An acknowledgement may be lost; the relay then repeats the message.
            for _ in 0..2 {
                let status = relay.step(message);
                prop_assert!(status.is_ok(), "{:?}: {:?}", message, status);
                if let (Ok(RelayStatus::Complete), RelayMessage::End { end, .. }) = (status, message) {
                    upto = end.0;
                }
            }
        }
        prop_assert_eq!(upto, sizes.len() as u64 * 10);
    }

    /// Under loss, repetition and reordering, a transaction that counts as complete is complete, and so
    /// is everything before it.
    #[test]
    fn nothing_complete_after_a_gap(
        sizes in sizes(),
        lost in proptest::collection::vec(0_usize..60, 0..4),
        repeated in proptest::collection::vec((0_usize..60, 0_usize..60), 0..3),
        swapped in proptest::collection::vec((0_usize..60, 0_usize..60), 0..3),
    ) {
        let full = log(&sizes);
        let mut messages = full.clone();
        for at in lost {
            if messages.len() > 1 {
                messages.remove(at % messages.len());
            }
        }
        for (from, to) in repeated {
            let again = messages[from % messages.len()];
            messages.insert(to % messages.len(), again);
        }
        for (one, other) in swapped {
            let len = messages.len();
            messages.swap(one % len, other % len);
        }
        let mut relay = Relay::resuming(NONCE, Lsn(0));
        let mut received = Vec::new();
        for message in messages {
            match relay.step(message) {
                Err(_) => break,
                Ok(RelayStatus::Complete) => {
                    let RelayMessage::End { end: upto, .. } = message else {
                        unreachable!("not an end")
                    };
                    let before = full.iter().filter(|message| match message {
                        RelayMessage::Event { after, .. } => {
                            after.expect("every event names its predecessor") < upto
                        }
                        _ => false,
                    });
                    for event in before {
                        prop_assert!(received.contains(event), "{event:?} before {upto}");
                    }
                }
                Ok(_) => received.push(message),
            }
        }
    }
}
