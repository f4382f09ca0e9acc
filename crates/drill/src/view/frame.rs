//! One picture of a run as lines of styled text: what a terminal shows and what the SVG draws.

use super::History;
use crate::demo::{ArmSnapshot, Snapshot};
use crate::report::table::{grouped, milliseconds};

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Dim,
    Title,
    Good,
    Bad,
    Water,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) text: String,
    pub(super) style: Style,
}

/// Lines of styled text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    pub(super) title: String,
    pub(super) lines: Vec<Vec<Span>>,
}

const LABEL: usize = 24;
const COLUMN: usize = 18;
const BAR: usize = 14;
const CURVE: usize = 48;

/// Draws the last moment of `history`.
pub(super) fn compose(history: &History) -> Frame {
    let mut lines = Lines(Vec::new());
    let Some(last) = history.last() else { return Frame::default() };
    lines.progress(&history.title, last);
    lines.blank();
    let width = history.addresses.iter().map(|address| address.url.len()).max().unwrap_or(0);
    for (index, address) in history.addresses.iter().enumerate() {
        let label = if index == 0 { "open in a browser" } else { "" };
        lines.push(vec![
            span(format!("  {label:<LABEL$}"), Style::Dim),
            span(format!("{:<width$}  ", address.url), Style::Water),
            span(address.what.clone(), Style::Dim),
        ]);
    }
    lines.blank();
    lines.row("", last, |_, arm| (arm.title.clone(), Style::Title));
    lines.row("requests/s", last, |index, _| {
        let rate = history.rate(2, |snapshot| snapshot.arms[index].requests);
        (format!("{rate:.0}"), Style::Plain)
    });
    lines.row("hit rate", last, |_, arm| (percent(hit_rate(arm)), Style::Plain));
    lines.row("  local · shared · edge", last, |_, arm| {
        let share = |hits: u64| hits as f64 / arm.answers.max(1) as f64 * 100.0;
        let hits = arm.hits;
        match hits.total() {
            0 => ("–".into(), Style::Dim),
            _ => (
                format!(
                    "{:.0} · {:.0} · {:.0} %",
                    share(hits.local),
                    share(hits.shared),
                    share(hits.edge)
                ),
                Style::Dim,
            ),
        }
    });
    let origin =
        |index: usize| history.rate(2, move |snapshot| snapshot.arms[index].origin_requests);
    lines.row("to the shop/s", last, |index, _| (format!("{:.0}", origin(index)), Style::Plain));
    lines.row("latency p50", last, |_, arm| (milliseconds(arm.p50_ms), Style::Plain));
    lines.row("latency p99", last, |_, arm| (milliseconds(arm.p99_ms), Style::Plain));
    lines.row("errors", last, |_, arm| counted(arm.errors));
    lines.row("answers audited", last, |_, arm| (grouped(arm.audited), Style::Plain));
    lines.row("staler than contract", last, |_, arm| match arm.stale {
        0 => ("0".into(), Style::Good),
        stale => (grouped(stale), Style::Bad),
    });
    lines.row("worst staleness seen", last, |_, arm| {
        (milliseconds(arm.worst.as_secs_f64() * 1000.0), Style::Plain)
    });
    lines.row("commit → gone, p99", last, |_, arm| {
        known(arm.inside.and_then(|inside| inside.commit_to_gone_ms).map(|(_, p99)| p99))
    });
    lines.row("worst bound claimed", last, |_, arm| {
        known(arm.inside.and_then(|inside| inside.worst_bound_ms))
    });
    lines.blank();
    lines.curves(history, last);
    lines.blank();
    lines.push(vec![span(
        format!(
            "  {} writes committed. Ctrl-C ends the run with its summary.",
            grouped(last.writes)
        ),
        Style::Dim,
    )]);
    Frame { title: history.title.clone(), lines: lines.0 }
}

pub(super) fn hit_rate(arm: &ArmSnapshot) -> f64 {
    arm.hits.total() as f64 / arm.answers.max(1) as f64
}

struct Lines(Vec<Vec<Span>>);

impl Lines {
    fn push(&mut self, line: Vec<Span>) {
        self.0.push(line);
    }

    fn blank(&mut self) {
        self.push(Vec::new());
    }

    fn progress(&mut self, title: &str, last: &Snapshot) {
        let clock = |seconds: u64| format!("{:02}:{:02}", seconds / 60, seconds % 60);
        let mut line = vec![span(format!("  {title:<40}"), Style::Title)];
        match last.planned {
            Some(planned) => {
                let share = last.elapsed.as_secs_f64() / planned.as_secs_f64().max(0.001);
                let (done, left) = bar(share, 30);
                let elapsed = last.elapsed.min(planned).as_secs();
                line.push(span(
                    format!("{} of {}  ", clock(elapsed), clock(planned.as_secs())),
                    Style::Plain,
                ));
                line.push(span(done, Style::Water));
                line.push(span(left, Style::Dim));
            }
            None => line.push(span(clock(last.elapsed.as_secs()), Style::Plain)),
        }
        self.push(line);
    }

    /// One figure of every arm.
    fn row(
        &mut self,
        label: &str,
        last: &Snapshot,
        cell: impl Fn(usize, &ArmSnapshot) -> (String, Style),
    ) {
        let mut line = vec![span(format!("  {label:<LABEL$}"), Style::Dim)];
        for (index, arm) in last.arms.iter().enumerate() {
            let (text, style) = cell(index, arm);
            line.push(span(format!("{text:>COLUMN$}"), style));
        }
        self.push(line);
    }

    /// What reaches the shop behind each arm, over the last minute and on one scale.
    fn curves(&mut self, history: &History, last: &Snapshot) {
        self.push(vec![span("  requests that reach the shop, per second", Style::Dim)]);
        let curves: Vec<Vec<f64>> = (0..last.arms.len())
            .map(|index| history.curve(CURVE, move |snapshot| snapshot.arms[index].origin_requests))
            .collect();
        let top = curves.iter().flatten().copied().fold(1.0, f64::max);
        for (arm, curve) in last.arms.iter().zip(&curves) {
            let drawn: String = curve.iter().map(|rate| column(rate / top)).collect();
            let now = curve.last().copied().unwrap_or(0.0);
            let (done, left) = bar(now / top, BAR);
            self.push(vec![
                span(format!("  {:<LABEL$}", arm.title), Style::Plain),
                span(format!("{drawn:>CURVE$}  "), Style::Water),
                span(done, Style::Water),
                span(left, Style::Dim),
                span(format!(" {now:>6.0}"), Style::Plain),
            ]);
        }
    }
}

fn span(text: impl Into<String>, style: Style) -> Span {
    Span { text: text.into(), style }
}

fn counted(count: u64) -> (String, Style) {
    (grouped(count), if count == 0 { Style::Plain } else { Style::Bad })
}

fn known(value: Option<f64>) -> (String, Style) {
    value.map_or_else(|| ("–".into(), Style::Dim), |value| (milliseconds(value), Style::Plain))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a small width"
)]
fn bar(share: f64, width: usize) -> (String, String) {
    let done = ((share.clamp(0.0, 1.0) * width as f64).round() as usize).min(width);
    ("█".repeat(done), "░".repeat(width - done))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of eight")]
fn column(share: f64) -> char {
    const COLUMNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    COLUMNS[((share.clamp(0.0, 1.0) * 7.0).round() as usize).min(7)]
}
