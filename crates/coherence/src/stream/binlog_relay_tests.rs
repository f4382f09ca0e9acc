use proptest::prelude::*;

use super::*;

const NONCE: u64 = 7;

fn gtid(text: &str) -> Gtid {
    text.parse().expect("an id")
}

fn begin(id: &str) -> BinlogMessage {
    BinlogMessage::Begin { id: gtid(id) }
}

fn row(id: &str, ordinal: u64, at: u64) -> BinlogMessage {
    BinlogMessage::Row { id: gtid(id), ordinal, at: Lsn(at), heartbeat: None }
}

fn end(id: &str, count: u64) -> BinlogMessage {
    BinlogMessage::End { id: gtid(id), count }
}

/// A heartbeat of one row at `at`, written when the log ended at `after` with the transactions `last`.
fn heartbeat(id: &str, at: u64, after: u64, last: &[&str]) -> [BinlogMessage; 3] {
    let last = last.iter().map(|id| gtid(id)).collect();
    let heartbeat = Some(LogHeartbeat { nonce: NONCE, after: Lsn(after), last });
    let row = BinlogMessage::Row { id: gtid(id), ordinal: 1, at: Lsn(at), heartbeat };
    [begin(id), row, end(id, 1)]
}

/// A relay that has passed on everything up to transaction 0-1-5 and position 100.
fn confirmed() -> BinlogRelay {
    let mut relay = BinlogRelay::starting(NONCE, Lsn(80), GtidSet::up_to(&[gtid("0-1-4")]));
    assert!(!relay.is_confirmed());
    let steps = run(&mut relay, &heartbeat("0-1-5", 100, 80, &["0-1-4"]));
    assert_eq!(steps.last(), Some(&complete(100)));
    assert!(relay.is_confirmed());
    relay
}

fn run(relay: &mut BinlogRelay, messages: &[BinlogMessage]) -> Vec<BinlogStep> {
    messages.iter().map(|message| relay.step(message.clone()).expect("this log")).collect()
}

/// Returns the reasons and positions of missing changes.
fn missing(steps: &[BinlogStep]) -> Vec<(Lsn, MissingChanges)> {
    steps.iter().filter_map(|step| step.missing.clone()).collect()
}

fn complete(at: u64) -> BinlogStep {
    BinlogStep { missing: None, status: BinlogStatus::Complete(Lsn(at)) }
}

#[test]
fn transaction_complete_at_its_last_row() {
    let mut relay = confirmed();
    let messages = [begin("0-1-6"), row("0-1-6", 1, 120), row("0-1-6", 2, 130), end("0-1-6", 2)];
    let steps = run(&mut relay, &messages);
    let statuses: Vec<BinlogStatus> = steps.iter().map(|step| step.status).collect();
    let complete = BinlogStatus::Complete(Lsn(130));
    assert_eq!(statuses, [BinlogStatus::NoChange, BinlogStatus::New, BinlogStatus::New, complete]);
    assert_eq!(missing(&steps), []);
    // The relay restarts at the position that it had stored, and repeats all of it.
    let steps = run(&mut relay, &messages);
    assert_eq!(steps.last().expect("four").status, BinlogStatus::Repeated);
    assert_eq!(missing(&steps), []);
}

#[test]
fn transactions_of_other_tables_leave_no_gap() {
    let mut relay = confirmed();
    let others = [begin("0-1-6"), end("0-1-6", 0), begin("0-1-7"), end("0-1-7", 0)];
    assert_eq!(missing(&run(&mut relay, &others)), []);
    let steps = run(&mut relay, &[begin("0-1-8"), row("0-1-8", 1, 200), end("0-1-8", 1)]);
    assert_eq!(steps.last(), Some(&complete(200)));
    assert_eq!(missing(&steps), []);
}

#[test]
fn lost_transaction_missing_before_next_row() {
    let mut relay = confirmed();
    let steps = run(&mut relay, &[begin("0-1-7"), row("0-1-7", 1, 150), end("0-1-7", 1)]);
    assert_eq!(missing(&steps), [(Lsn(150), MissingChanges::Before(gtid("0-1-7")))]);
    assert_eq!(steps[2], complete(150));
    let steps = run(&mut relay, &[row("0-1-8", 1, 170), end("0-1-8", 1)]);
    assert_eq!(missing(&steps), [], "reported once");
}

#[test]
fn loss_before_transaction_without_rows_kept() {
    let mut relay = confirmed();
    assert_eq!(missing(&run(&mut relay, &[begin("0-1-7"), end("0-1-7", 0)])), []);
    let steps = run(&mut relay, &[begin("0-1-8"), row("0-1-8", 1, 150)]);
    assert_eq!(missing(&steps), [(Lsn(150), MissingChanges::Before(gtid("0-1-7")))]);
}

#[test]
fn lost_row_missing_at_end() {
    for rows in [&[1, 3][..], &[2, 3], &[1, 2], &[2, 1, 3]] {
        let mut relay = confirmed();
        run(&mut relay, &[begin("0-1-6")]);
        for ordinal in rows {
            let steps = run(&mut relay, &[row("0-1-6", *ordinal, 120)]);
            assert_eq!(steps[0].status, BinlogStatus::New);
        }
        let steps = run(&mut relay, &[end("0-1-6", 3)]);
        let [(at, MissingChanges::Rows { count: 3, .. })] = &missing(&steps)[..] else {
            panic!("{rows:?}: {steps:?}")
        };
        assert_eq!(*at, Lsn(120));
    }
    // None has arrived: the position comes with the next row.
    let mut relay = confirmed();
    assert_eq!(missing(&run(&mut relay, &[begin("0-1-6"), end("0-1-6", 2)])), []);
    assert_eq!(missing(&run(&mut relay, &[row("0-1-7", 1, 150)])).len(), 1);
}

#[test]
fn statement_without_report_missing() {
    let mut relay = confirmed();
    let reported = BinlogMessage::Statement { id: gtid("0-1-6"), at: Lsn(120) };
    let steps = run(&mut relay, &[begin("0-1-6"), reported, begin("0-1-7"), row("0-1-7", 1, 150)]);
    assert_eq!(steps[1].status, BinlogStatus::New);
    assert_eq!(missing(&steps), []);
    run(&mut relay, &[end("0-1-7", 1)]);
    let steps = run(&mut relay, &[begin("0-1-8"), begin("0-1-9"), row("0-1-9", 1, 200)]);
    assert_eq!(missing(&steps), [(Lsn(200), MissingChanges::Before(gtid("0-1-9")))]);
}

#[test]
fn second_source_complete_only_up_to_heartbeats() {
    let mut relay = confirmed();
    let steps = run(&mut relay, &[begin("1-1-1"), row("1-1-1", 1, 150), end("1-1-1", 1)]);
    assert_eq!(steps[2].status, BinlogStatus::NoChange, "one of the other source may be missing");
    let last = ["0-1-6", "1-1-1"];
    let steps = run(&mut relay, &heartbeat("0-1-7", 200, 180, &last));
    let expected = (Lsn(200), MissingChanges::Before(gtid("0-1-7")));
    assert_eq!(missing(&steps), [expected]);
    assert_eq!(steps[2], complete(200));
    let last = ["0-1-7", "1-1-2"];
    let steps = run(&mut relay, &heartbeat("0-1-8", 300, 280, &last));
    assert_eq!(missing(&steps), [(Lsn(300), MissingChanges::Transaction(gtid("1-1-2")))]);
    assert_eq!(steps[2].status, BinlogStatus::Complete(Lsn(300)));
}

#[test]
fn nothing_complete_before_first_heartbeat() {
    let mut relay = BinlogRelay::starting(NONCE, Lsn(80), GtidSet::default());
    let steps = run(&mut relay, &[begin("0-1-2"), row("0-1-2", 1, 50), end("0-1-2", 1)]);
    assert_eq!(steps[2].status, BinlogStatus::Repeated, "from before the start");
    let mut foreign = heartbeat("0-1-3", 90, 85, &[]);
    if let BinlogMessage::Row { heartbeat: Some(heartbeat), .. } = &mut foreign[1] {
        heartbeat.nonce += 1;
    }
    let steps = run(&mut relay, &foreign);
    assert_eq!((steps[1].status, steps[2].status), (BinlogStatus::New, BinlogStatus::NoChange));
    let steps = run(&mut relay, &heartbeat("0-1-4", 100, 80, &["0-1-3"]));
    assert_eq!(steps[2], complete(100));
}

#[test]
fn positions_of_other_server_refused() {
    let mut relay = confirmed();
    let [begin, row, end] = heartbeat("0-1-6", 110, 120, &["0-1-5"]);
    run(&mut relay, &[begin, row]);
    let expected = OtherLog::Heartbeat { after: Lsn(120), at: Lsn(110) };
    assert_eq!(relay.step(end), Err(expected));
    // A heartbeat came back from behind the end at which the next one was written.
    let mut relay = confirmed();
    let [begin, row, end] = heartbeat("0-1-6", 110, 95, &["0-1-5"]);
    run(&mut relay, &[begin, row]);
    assert!(relay.step(end).is_err());
}

#[test]
fn new_transaction_at_old_position_refused() {
    let mut relay = confirmed();
    let expected = Err(OtherLog::Backwards { at: Lsn(90), last: Lsn(100) });
    assert_eq!(relay.step(row("0-1-6", 1, 90)), expected);
}

/// A file with more than 4 GiB, in which positions begin again, while the relay is not confirmed (readyset#465,
/// gh-ost#1366).
#[test]
fn transaction_at_old_position_missing_later() {
    let mut relay = BinlogRelay::starting(NONCE, Lsn(80), GtidSet::up_to(&[gtid("0-1-4")]));
    let steps = run(&mut relay, &[begin("0-1-5"), row("0-1-5", 1, 10), end("0-1-5", 1)]);
    assert_eq!(steps[1].status, BinlogStatus::Repeated);
    let steps = run(&mut relay, &heartbeat("0-1-6", 100, 80, &["0-1-5"]));
    assert_eq!(missing(&steps), [(Lsn(100), MissingChanges::Before(gtid("0-1-6")))]);
    assert_eq!(steps[2], complete(100));
}

/// The relay was restarted inside a transaction, and counts the rows that are left from 1 (debezium#131).
#[test]
fn rows_counted_anew_after_begin() {
    let mut relay = confirmed();
    run(&mut relay, &[begin("0-1-6"), row("0-1-6", 1, 120), row("0-1-6", 2, 130)]);
    let steps = run(&mut relay, &[begin("0-1-6"), row("0-1-6", 1, 140), end("0-1-6", 1)]);
    assert_eq!((missing(&steps), steps[2].clone()), (vec![], complete(140)));
}

#[test]
fn used_number_proves_nothing() {
    let mut relay = confirmed();
    let steps = run(&mut relay, &[begin("0-2-3"), row("0-2-3", 1, 150), end("0-2-3", 1)]);
    assert_eq!(missing(&steps), [(Lsn(150), MissingChanges::Reused(gtid("0-2-3")))]);
}

#[test]
fn interrupted_follower_goes_on_inside_transaction() {
    let mut relay = confirmed();
    run(&mut relay, &[begin("0-1-6"), row("0-1-6", 1, 120)]);
    let mut relay = relay.resumed(NONCE, Lsn(100), &GtidSet::default());
    let steps = run(&mut relay, &[row("0-1-6", 1, 120), row("0-1-6", 2, 130), end("0-1-6", 2)]);
    assert_eq!(missing(&steps), []);
    // Another follower does not know the first row.
    let mut other = BinlogRelay::starting(NONCE, Lsn(100), GtidSet::up_to(&[gtid("0-1-5")]));
    let steps = run(&mut other, &[row("0-1-6", 2, 130), end("0-1-6", 2)]);
    assert_eq!(missing(&steps).len(), 1);
}

/// Transaction `n` (from 0) begins at `100 n` and has its rows 10 apart. Each third one is a heartbeat.
fn log(shape: &[(u64, bool)]) -> Vec<BinlogMessage> {
    let mut messages = Vec::new();
    let mut numbers = [0, 0];
    for (at, (rows, other)) in shape.iter().enumerate() {
        let (start, is_heartbeat) = (at as u64 * 100, at % 3 == 2);
        let domain = usize::from(*other && !is_heartbeat);
        let last = numbers.iter().enumerate().filter(|(_, number)| **number > 0);
        let last = last.map(|(domain, number)| gtid(&format!("{domain}-1-{number}"))).collect();
        numbers[domain] += 1;
        let id = gtid(&format!("{domain}-1-{}", numbers[domain]));
        messages.push(BinlogMessage::Begin { id: id.clone() });
        let rows = if is_heartbeat { 1 } else { *rows };
        let heartbeat = LogHeartbeat { nonce: NONCE, after: Lsn(start), last };
        messages.extend((1..=rows).map(|ordinal| BinlogMessage::Row {
            id: id.clone(),
            ordinal,
            at: Lsn(start + ordinal * 10),
            heartbeat: is_heartbeat.then(|| heartbeat.clone()),
        }));
        messages.push(BinlogMessage::End { id, count: rows });
    }
    messages
}

fn shape(domains: bool) -> impl Strategy<Value = Vec<(u64, bool)>> {
    proptest::collection::vec(
        (0_u64..4, if domains { any::<bool>().boxed() } else { Just(false).boxed() }),
        1..16,
    )
}

/// Runs the messages, and checks that nothing is complete that was neither delivered nor reported missing.
/// Returns the number of reports.
fn check(shape: &[(u64, bool)], messages: &[BinlogMessage]) -> Result<usize, TestCaseError> {
    let mut relay = BinlogRelay::starting(NONCE, Lsn(0), GtidSet::default());
    let mut delivered = std::collections::BTreeSet::new();
    let (mut reports, mut reported) = (0, Lsn::ZERO);
    for message in messages {
        let step = relay.step(message.clone());
        prop_assert!(step.is_ok(), "{:?}: {:?}", message, step);
        let BinlogStep { missing, status } = step.expect("checked");
        if let Some((at, _)) = missing {
            (reports, reported) = (reports + 1, reported.max(at));
        }
        if let (BinlogMessage::Row { at, .. }, BinlogStatus::New) = (message, status) {
            delivered.insert(*at);
        }
        let BinlogStatus::Complete(upto) = status else { continue };
        for (n, (rows, _)) in shape.iter().enumerate() {
            let start = n as u64 * 100;
            let rows = if n % 3 == 2 { 1 } else { *rows };
            let has_all = (1..=rows).all(|ordinal| delivered.contains(&Lsn(start + ordinal * 10)));
            let covered = Lsn(start) >= upto || has_all || reported > Lsn(start);
            prop_assert!(covered, "transaction {} up to {}", n, upto);
        }
    }
    Ok(reports)
}

proptest! {
    #[test]
    fn loss_never_complete(
        shape in shape(true),
        lost in proptest::collection::vec(0_usize..80, 0..6),
        twice in proptest::collection::vec(0_usize..80, 0..6),
    ) {
        let mut messages = Vec::new();
        for (at, message) in log(&shape).into_iter().enumerate() {
            if !lost.contains(&at) {
                messages.push(message.clone());
            }
            if twice.contains(&at) {
                messages.push(message);
            }
        }
        check(&shape, &messages)?;
    }

    #[test]
    fn faithful_relay_reports_nothing(
        shape in shape(false),
        restarts in proptest::collection::vec((0_usize..60, 0_usize..60), 0..4),
    ) {
        let log = log(&shape);
        // From the first heartbeat on it is known which messages were repeated.
        let first = log.iter().position(|message| matches!(message, BinlogMessage::Row { heartbeat: Some(_), .. }));
        let first = first.map_or(log.len(), |at| at + 2);
        let mut messages = log.clone();
        for (at, back_to) in restarts {
            if first >= log.len() {
                break;
            }
            let at = first + at % (log.len() - first);
            // The relay stores the positions at which transactions begin.
            let back = (0..=back_to % (at + 1)).rev().find(|n| matches!(log[*n], BinlogMessage::Begin { .. }));
            let mut again = log[..at].to_vec();
            again.extend_from_slice(&log[back.unwrap_or(0)..]);
            messages = again;
        }
        prop_assert_eq!(check(&shape, &messages)?, 0);
    }
}
