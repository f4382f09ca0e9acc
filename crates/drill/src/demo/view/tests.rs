use std::time::Duration;

use super::frame::{Frame, Span, compose, plain_line};
use super::history::{History, Link};
use crate::clock::now;
use crate::demo::live::{Snapshot, TargetSnapshot};
use crate::load::Hits;

fn snapshot(second: u64) -> Snapshot {
    let target = |title: &str, hits: u64, stale: u64| TargetSnapshot {
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
        worst_by_kind: [Some(Duration::from_millis(12)), None, None, None],
        metrics: None,
    };
    Snapshot {
        elapsed: Duration::from_secs(second),
        planned: Some(Duration::from_secs(60)),
        writes: 10 * second,
        budgets: [1, 2, 60, 10].map(Duration::from_secs),
        targets: vec![target("Tidegate", 930, 0), target("TTL only <10 s>", 900, 4)],
    }
}

fn history() -> History {
    let link = Link { url: "http://127.0.0.1:8080/".into(), description: "the shop".into() };
    let mut history =
        History { title: "tidegate demo".into(), links: vec![link], snapshots: Vec::new() };
    let start = now();
    for second in 0..20_u64 {
        history.snapshots.push((start + Duration::from_secs(second), snapshot(second)));
    }
    history
}

fn text(frame: &Frame) -> String {
    let line = |spans: &Vec<Span>| spans.iter().map(|span| span.text.as_str()).collect();
    frame.lines.iter().map(line).collect::<Vec<String>>().join("\n")
}

#[test]
fn frame_shows_targets_and_links() {
    let text = text(&compose(&history()));
    for expected in ["00:19 of 01:00", "http://127.0.0.1:8080/", "93.0 %", "1000", "70"] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    let stale = text.lines().find(|line| line.contains("staler than contract")).expect("a row");
    assert!(stale.contains(" 0") && stale.ends_with(" 76"), "{stale}");
}

#[test]
fn staleness_shown_beside_its_contract() {
    let text = text(&compose(&history()));
    let worst = text.lines().find(|line| line.starts_with("worst price, of 1 s")).expect("a row");
    assert!(worst.contains("12.00 ms"), "{worst}");
    assert!(!text.contains("worst stock"), "no stock was compared:\n{text}");
}

#[test]
fn verdict_and_first_link_fit_small_terminal() {
    let mut history = history();
    for (_, snapshot) in &mut history.snapshots {
        let mut target = snapshot.targets[0].clone();
        target.worst_by_kind = [Some(Duration::from_secs(59)); 4].map(|worst| worst);
        target.worst_by_kind[3] = None;
        snapshot.targets = vec![target; 4];
    }
    let text = text(&compose(&history));
    let lines: Vec<&str> = text.lines().take(24).collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
    assert!(lines[3].starts_with("staler than contract"), "{text}");
    assert!(lines[23].contains("http://127.0.0.1:8080/"), "{text}");
}

#[test]
fn empty_history_gives_empty_frame() {
    let mut history = history();
    history.snapshots.truncate(1);
    assert!(!compose(&history).lines.is_empty());
    history.snapshots.clear();
    assert_eq!(compose(&history), Frame::default());
    assert_eq!(plain_line(&history), "");
}

#[test]
fn svg_is_well_formed_and_escaped() {
    let svg = compose(&history()).svg();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("TTL only &lt;10 s&gt;"));
    assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
}
