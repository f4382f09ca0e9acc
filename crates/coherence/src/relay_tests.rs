use proptest::prelude::*;

use super::*;

const NONCE: u64 = 7;

fn event(xid: u32, order: u64, after: u64) -> Told {
    Told::Event { xid, order, after: Some(Lsn(after)), beat: None }
}

fn beat(xid: u32, number: u64, after: u64) -> [Told; 3] {
    let beat = Some((NONCE, number));
    let event = Told::Event { xid, order: 1, after: Some(Lsn(after)), beat };
    [Told::Begin { xid }, event, end(xid, after + 1, 1)]
}

fn end(xid: u32, end: u64, count: u64) -> Told {
    Told::End { xid, end: Lsn(end), count }
}

/// What comes of the last of them; none before may break.
fn last(relay: &mut Relay, told: &[Told]) -> Result<Heard, Break> {
    let mut heard = Ok(Heard::Nothing);
    for (at, message) in told.iter().enumerate() {
        heard = relay.step(*message);
        assert!(heard.is_ok() || at + 1 == told.len(), "{message:?}: {heard:?}");
    }
    heard
}

const NEWS: Result<Heard, Break> = Ok(Heard::Held { news: true });

#[test]
fn a_transaction_is_whole_at_its_end_and_not_before() {
    let mut relay = Relay::continuing(NONCE, Lsn(10));
    assert_eq!(relay.step(Told::Begin { xid: 1 }), Ok(Heard::Nothing));
    assert_eq!(relay.step(event(1, 1, 10)), NEWS);
    assert_eq!(relay.step(event(1, 2, 10)), NEWS);
    assert_eq!(relay.step(end(1, 20, 2)), Ok(Heard::Whole));
    assert_eq!(relay.step(end(1, 20, 2)), Ok(Heard::Repeated), "its answer was lost");
}

#[test]
fn an_event_that_is_missing_is_noticed_at_the_end() {
    for told in [vec![1, 3], vec![2, 3], vec![1, 2], vec![]] {
        let mut relay = Relay::continuing(NONCE, Lsn(10));
        relay.step(Told::Begin { xid: 1 }).expect("no break");
        for order in &told {
            relay.step(event(1, *order, 10)).expect("no break");
        }
        let broken = relay.step(end(1, 20, 3));
        assert!(matches!(broken, Err(Break::Events { count: 3, .. })), "{told:?}: {broken:?}");
    }
}

#[test]
fn a_transaction_that_is_missing_is_noticed_at_the_next_event() {
    let mut relay = Relay::continuing(NONCE, Lsn(10));
    let broken = last(&mut relay, &[Told::Begin { xid: 2 }, event(2, 1, 15)]);
    assert_eq!(broken, Err(Break::Commit { after: Lsn(15), last: Lsn(10) }));
}

#[test]
fn an_end_that_is_missing_is_noticed() {
    let mut relay = Relay::continuing(NONCE, Lsn(10));
    let told = [event(1, 1, 10), Told::Begin { xid: 2 }, end(2, 20, 0)];
    assert_eq!(last(&mut relay, &told), Err(Break::Unended { xid: 1 }));
}

#[test]
fn a_relay_that_went_back_is_heard_again() {
    let mut relay = Relay::continuing(NONCE, Lsn(10));
    let first = [event(1, 1, 10), end(1, 20, 1)];
    assert_eq!(last(&mut relay, &first), Ok(Heard::Whole));
    assert_eq!(last(&mut relay, &[event(2, 1, 20), event(2, 2, 20)]), NEWS);
    // It died, and begins at the place that it had noted.
    assert_eq!(relay.step(event(1, 1, 10)), Ok(Heard::Held { news: false }));
    assert_eq!(relay.step(end(1, 20, 1)), Ok(Heard::Repeated));
    assert_eq!(last(&mut relay, &[event(2, 1, 20), event(2, 2, 20)]), NEWS);
    assert_eq!(relay.step(end(2, 30, 2)), Ok(Heard::Whole));
}

#[test]
fn whoever_takes_over_in_the_middle_of_a_transaction_knows_it() {
    let mut relay = Relay::continuing(NONCE, Lsn(10));
    assert_eq!(relay.step(event(1, 2, 10)), NEWS);
    assert!(matches!(relay.step(end(1, 20, 2)), Err(Break::Events { .. })));
    let mut relay = Relay::continuing(NONCE, Lsn(10));
    assert!(matches!(relay.step(end(1, 20, 2)), Err(Break::Events { seen: 0, .. })));
}

#[test]
fn nothing_counts_before_the_first_beat_has_come_back() {
    let mut relay = Relay::beginning(NONCE);
    for message in [event(1, 3, 5), end(1, 8, 9), Told::Snapshot, event(2, 1, 8)] {
        assert_eq!(relay.step(message), Ok(Heard::Before));
    }
    let foreign = Told::Event { xid: 3, order: 1, after: None, beat: Some((NONCE + 1, 4)) };
    assert_eq!(last(&mut relay, &[foreign, end(3, 9, 1)]), Ok(Heard::Before));
    assert!(!relay.is_heard());
    assert_eq!(last(&mut relay, &beat(4, 0, 9)), Ok(Heard::Whole));
    assert!(relay.is_heard());
    assert_eq!(last(&mut relay, &[event(5, 1, 10), end(5, 20, 1)]), Ok(Heard::Whole));
}

#[test]
fn a_beat_that_does_not_come_back_is_noticed() {
    let mut relay = Relay::beginning(NONCE);
    assert_eq!(last(&mut relay, &beat(1, 1, 0)), Err(Break::Beat { due: 0, came: 1 }));
    let mut relay = Relay::continuing(NONCE, Lsn(10));
    last(&mut relay, &beat(1, 0, 10)).expect("in turn");
    // It was set up anew, with the memory that it had: to itself nothing is missing.
    assert_eq!(last(&mut relay, &beat(4, 3, 11)), Err(Break::Beat { due: 1, came: 3 }));
}

#[test]
fn a_relay_that_reads_tables_or_has_forgotten_where_it_was_is_not_gone_on_with() {
    let mut relay = Relay::continuing(NONCE, Lsn(10));
    assert_eq!(relay.clone().step(Told::Snapshot), Err(Break::Snapshot));
    let unsaid = Told::Event { xid: 1, order: 1, after: None, beat: None };
    let told = [unsaid, end(1, 20, 1)];
    assert!(matches!(last(&mut relay, &told), Err(Break::Events { .. })));
}

#[test]
fn a_message_outside_of_transactions_is_followed_on() {
    let mut relay = Relay::continuing(NONCE, Lsn(10));
    assert_eq!(relay.step(Told::Loose { at: Lsn(15) }), Ok(Heard::Nothing));
    assert_eq!(last(&mut relay, &[event(1, 1, 15), end(1, 20, 1)]), Ok(Heard::Whole));
}

/// Transaction `n` (from 1) ends at `10 n`; each third is a beat.
fn log(sizes: &[u64]) -> Vec<Told> {
    let mut told = Vec::new();
    let mut beats = 0..;
    for (at, size) in sizes.iter().enumerate() {
        let (xid, before) = (at as u32 + 1, at as u64 * 10);
        told.push(Told::Begin { xid });
        let number = if at % 3 == 0 { beats.next() } else { None };
        let size = number.map_or(*size, |_| 1);
        told.extend((1..=size).map(|order| Told::Event {
            xid,
            order,
            after: Some(Lsn(before)),
            beat: number.map(|number| (NONCE, number)),
        }));
        told.push(end(xid, before + 10, size));
    }
    told
}

fn sizes() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(1_u64..4, 1..12)
}

proptest! {
    /// A relay that does what it promises, and dies at times, is never doubted.
    #[test]
    fn a_faithful_relay_is_gone_on_with(
        sizes in sizes(),
        restarts in proptest::collection::vec((0_usize..60, 0_usize..60), 0..4),
    ) {
        let log = log(&sizes);
        let mut told = log.clone();
        for (at, back_to) in restarts {
            let at = at % log.len();
            // It notes where transactions begin.
            let back = (0..=back_to % (at + 1)).rev().find(|n| matches!(log[*n], Told::Begin { .. }));
            let mut again = log[..at].to_vec();
            again.extend_from_slice(&log[back.unwrap_or(0)..]);
            told = again;
        }
        let mut relay = Relay::continuing(NONCE, Lsn(0));
        let mut upto = 0;
        for message in told {
            // Its answer may be lost, and it sends it again.
            for _ in 0..2 {
                let heard = relay.step(message);
                prop_assert!(heard.is_ok(), "{:?}: {:?}", message, heard);
                if let (Ok(Heard::Whole), Told::End { end, .. }) = (heard, message) {
                    upto = end.0;
                }
            }
        }
        prop_assert_eq!(upto, sizes.len() as u64 * 10);
    }

    /// Whatever is lost, repeated or told in another order: what counts as whole is whole, and so is
    /// everything before it.
    #[test]
    fn nothing_is_whole_after_something_that_is_not(
        sizes in sizes(),
        lost in proptest::collection::vec(0_usize..60, 0..4),
        repeated in proptest::collection::vec((0_usize..60, 0_usize..60), 0..3),
        swapped in proptest::collection::vec((0_usize..60, 0_usize..60), 0..3),
    ) {
        let full = log(&sizes);
        let mut told = full.clone();
        for at in lost {
            if told.len() > 1 {
                told.remove(at % told.len());
            }
        }
        for (from, to) in repeated {
            let again = told[from % told.len()];
            told.insert(to % told.len(), again);
        }
        for (one, other) in swapped {
            let len = told.len();
            told.swap(one % len, other % len);
        }
        let mut relay = Relay::continuing(NONCE, Lsn(0));
        let mut heard_of = Vec::new();
        for message in told {
            match relay.step(message) {
                Err(_) => break,
                Ok(Heard::Whole) => {
                    let Told::End { end: upto, .. } = message else { unreachable!("not an end") };
                    let before = full.iter().filter(|told| match told {
                        Told::Event { after, .. } => after.expect("it is said") < upto,
                        _ => false,
                    });
                    for event in before {
                        prop_assert!(heard_of.contains(event), "{event:?} before {upto}");
                    }
                }
                Ok(_) => heard_of.push(message),
            }
        }
    }
}
