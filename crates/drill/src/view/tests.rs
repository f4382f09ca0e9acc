use super::*;
use crate::demo::ArmSnapshot;
use crate::tally::Hits;

fn snapshot(second: u64) -> Snapshot {
    let arm = |title: &str, hits: u64, stale: u64| ArmSnapshot {
        title: title.into(),
        requests: 1000 * second,
        errors: 0,
        answers: 1000 * second,
        hits: Hits { edge: hits * second, ..Hits::default() },
        origin_requests: (1000 - hits) * second,
        p50_ms: 0.8,
        p99_ms: 7.5,
        audited: 900 * second,
        stale: stale * second,
        worst: Duration::from_millis(12),
        inside: None,
    };
    Snapshot {
        elapsed: Duration::from_secs(second),
        planned: Some(Duration::from_secs(60)),
        writes: 10 * second,
        arms: vec![arm("Tidegate", 930, 0), arm("TTL only <10 s>", 900, 4)],
    }
}

fn history() -> History {
    let address = Address { url: "http://127.0.0.1:8080/".into(), what: "the shop".into() };
    let mut history =
        History { title: "tidegate demo".into(), addresses: vec![address], moments: Vec::new() };
    let start = now();
    for second in 0..20_u64 {
        history.moments.push((start + Duration::from_secs(second), snapshot(second)));
    }
    history
}

fn text(frame: &Frame) -> String {
    let line = |spans: &Vec<frame::Span>| spans.iter().map(|span| span.text.as_str()).collect();
    frame.lines.iter().map(line).collect::<Vec<String>>().join("\n")
}

#[test]
fn the_frame_shows_each_arm_and_where_to_look() {
    let text = text(&compose(&history()));
    for expected in ["00:19 of 01:00", "http://127.0.0.1:8080/", "93.0 %", "1000", "70"] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    let stale = text.lines().find(|line| line.contains("staler than contract")).expect("a row");
    assert!(stale.contains(" 0") && stale.ends_with(" 76"), "{stale}");
}

#[test]
fn a_run_that_has_just_begun_is_no_panic() {
    let mut history = history();
    history.moments.truncate(1);
    assert!(!compose(&history).lines.is_empty());
    history.moments.clear();
    assert_eq!(compose(&history), Frame::default());
    assert_eq!(plain_line(&history), "");
}

#[test]
fn the_picture_is_well_formed_and_escaped() {
    let svg = compose(&history()).svg();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("TTL only &lt;10 s&gt;"));
    assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
}
