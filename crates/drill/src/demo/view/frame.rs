//! Lays out a run as lines of styled text, for the terminal and the SVG picture.

use super::history::History;
use crate::audit::Kind;
use crate::demo::live::{Snapshot, TargetSnapshot};
use crate::report::table::{grouped, milliseconds};

/// The style of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Dim,
    Title,
    Good,
    Bad,
    Accent,
}

/// A piece of a line, in one style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) text: String,
    pub(super) style: Style,
}

/// A laid-out view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    pub(super) title: String,
    pub(super) lines: Vec<Vec<Span>>,
}

/// Width of the row labels. With the columns of four targets it fills the 80 columns of a small
/// terminal.
const LABEL: usize = 20;
/// Width of one target's column.
const COLUMN: usize = 15;
const BAR: usize = 10;
const CURVE: usize = 38;

/// Lays out the last snapshot of `history`.
pub(super) fn compose(history: &History) -> Frame {
    let mut lines = Lines(Vec::new());
    let Some(last) = history.last() else { return Frame::default() };
    lines.progress(&history.title, last);
    lines.blank();
    lines.row("", last, |_, target| (target.title.clone(), Style::Title));
    lines.row("staler than contract", last, |_, target| match target.stale {
        0 => ("0".into(), Style::Good),
        stale => (grouped(stale), Style::Bad),
    });
    lines.staleness(last);
    lines.row("answers audited", last, |_, target| (grouped(target.audited), Style::Plain));
    lines.row("errors", last, |_, target| error_count(target.errors));
    lines.row("requests/s", last, |index, _| {
        let rate = history.rate(2, |snapshot| snapshot.targets[index].requests);
        (format!("{rate:.0}"), Style::Plain)
    });
    lines.row("hit rate", last, |_, target| (percent(hit_rate(target)), Style::Plain));
    lines.tiers(last);
    let origin =
        |index: usize| history.rate(2, move |snapshot| snapshot.targets[index].origin_requests);
    lines.row("to the shop/s", last, |index, _| (format!("{:.0}", origin(index)), Style::Plain));
    lines.row("latency p50", last, |_, target| (milliseconds(target.p50_ms), Style::Plain));
    lines.row("latency p99", last, |_, target| (milliseconds(target.p99_ms), Style::Plain));
    lines.row("commit → gone, p99", last, |_, target| {
        optional_ms(
            target.metrics.and_then(|metrics| metrics.commit_to_gone_ms).map(|(_, p99)| p99),
        )
    });
    lines.row("worst bound claimed", last, |_, target| {
        optional_ms(target.metrics.and_then(|metrics| metrics.worst_bound_ms))
    });
    lines.curves(history, last);
    lines.push(vec![span(
        format!("{} writes committed. q or Ctrl-C ends the run.", grouped(last.writes)),
        Style::Dim,
    )]);
    lines.links(history);
    lines.push(vec![span(
        "Tiers: pages at the edge, values in the process (local), in a shared store.",
        Style::Dim,
    )]);
    Frame { title: history.title.clone(), lines: lines.0 }
}

/// Formats the last snapshot of `history` as one line, for outputs that are not a terminal.
pub(super) fn plain_line(history: &History) -> String {
    let Some(last) = history.last() else { return String::new() };
    let mut line = format!("{:>4} s", last.elapsed.as_secs());
    for (index, target) in last.targets.iter().enumerate() {
        let origin = history.rate(5, |snapshot| snapshot.targets[index].origin_requests);
        line += &format!(
            " | {}: {:.0} % hits, {origin:.0}/s to the shop, p99 {}, {} stale",
            target.title,
            hit_rate(target) * 100.0,
            milliseconds(target.p99_ms),
            grouped(target.stale)
        );
        if target.errors > 0 {
            line += &format!(", {} errors", grouped(target.errors));
        }
    }
    line
}

fn hit_rate(target: &TargetSnapshot) -> f64 {
    target.hits.total() as f64 / target.answers.max(1) as f64
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
        let mut line = vec![span(format!("{title:<28}"), Style::Title)];
        match last.planned {
            Some(planned) => {
                let share = last.elapsed.as_secs_f64() / planned.as_secs_f64().max(0.001);
                let (done, left) = bar(share, 24);
                let elapsed = last.elapsed.min(planned).as_secs();
                line.push(span(
                    format!("{} of {}  ", clock(elapsed), clock(planned.as_secs())),
                    Style::Plain,
                ));
                line.push(span(done, Style::Accent));
                line.push(span(left, Style::Dim));
            }
            None => line.push(span(clock(last.elapsed.as_secs()), Style::Plain)),
        }
        self.push(line);
    }

    /// One figure of every target.
    fn row(
        &mut self,
        label: &str,
        last: &Snapshot,
        cell: impl Fn(usize, &TargetSnapshot) -> (String, Style),
    ) {
        let mut line = vec![span(format!("{label:<LABEL$}"), Style::Dim)];
        for (index, target) in last.targets.iter().enumerate() {
            let (text, style) = cell(index, target);
            line.push(span(format!("{text:>COLUMN$}"), style));
        }
        self.push(line);
    }

    /// The highest staleness of each kind of value, beside the staleness that its contract allows.
    fn staleness(&mut self, last: &Snapshot) {
        for (kind, budget) in Kind::ALL.into_iter().zip(last.budgets) {
            let worst = |target: &TargetSnapshot| target.worst_by_kind[kind as usize];
            if last.targets.iter().all(|target| worst(target).is_none()) {
                continue;
            }
            let label = format!("worst {}, of {} s", kind.name(), budget.as_secs());
            self.row(&label, last, |_, target| match worst(target) {
                None => ("–".into(), Style::Dim),
                Some(worst) => {
                    let style = if worst > budget { Style::Bad } else { Style::Plain };
                    (milliseconds(worst.as_secs_f64() * 1000.0), style)
                }
            });
        }
    }

    /// Hits by tier, as shares of all responses.
    fn tiers(&mut self, last: &Snapshot) {
        self.row("edge, local, shared", last, |_, target| {
            let share = |hits: u64| hits as f64 / target.answers.max(1) as f64 * 100.0;
            let hits = target.hits;
            if hits.total() == 0 {
                return ("–".into(), Style::Dim);
            }
            let [edge, local, shared] = [hits.edge, hits.local, hits.shared].map(share);
            (format!("{edge:.0}, {local:.0}, {shared:.0} %"), Style::Dim)
        });
    }

    fn links(&mut self, history: &History) {
        let width = history.links.iter().map(|link| link.url.len()).max().unwrap_or(0);
        for (index, link) in history.links.iter().enumerate() {
            let label = if index == 0 { "open in a browser" } else { "" };
            self.push(vec![
                span(format!("{label:<LABEL$}"), Style::Dim),
                span(format!("{:<width$}  ", link.url), Style::Accent),
                span(link.description.clone(), Style::Dim),
            ]);
        }
    }

    /// Adds a curve of the requests that reach the shop behind each target, over the last minute, all
    /// on one scale.
    fn curves(&mut self, history: &History, last: &Snapshot) {
        self.push(vec![span("requests that reach the shop, per second", Style::Dim)]);
        let curves: Vec<Vec<f64>> = (0..last.targets.len())
            .map(|index| {
                history.curve(CURVE, move |snapshot| snapshot.targets[index].origin_requests)
            })
            .collect();
        let top = curves.iter().flatten().copied().fold(1.0, f64::max);
        for (target, curve) in last.targets.iter().zip(&curves) {
            let drawn: String = curve.iter().map(|rate| column(rate / top)).collect();
            let now = curve.last().copied().unwrap_or(0.0);
            let (done, left) = bar(now / top, BAR);
            self.push(vec![
                span(format!("{:<LABEL$}", target.title), Style::Plain),
                span(format!("{drawn:>CURVE$}  "), Style::Accent),
                span(done, Style::Accent),
                span(left, Style::Dim),
                span(format!(" {now:>6.0}"), Style::Plain),
            ]);
        }
    }
}

fn span(text: impl Into<String>, style: Style) -> Span {
    Span { text: text.into(), style }
}

fn error_count(count: u64) -> (String, Style) {
    (grouped(count), if count == 0 { Style::Plain } else { Style::Bad })
}

fn optional_ms(value: Option<f64>) -> (String, Style) {
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
