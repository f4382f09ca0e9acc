//! The live view of a run: a screen that is redrawn four times a second on a terminal, a line
//! every few seconds elsewhere. It is written to standard error, so that standard output stays
//! free for the report.

mod frame;
mod screen;
mod svg;

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::clock::now;
use crate::demo::{Live, Snapshot};
use crate::report::table::{grouped, milliseconds};
pub use frame::Frame;
use frame::compose;
use screen::Screen;

/// Where to look while a run is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// To open in a browser.
    pub url: String,
    /// What is there.
    pub what: String,
}

/// Watches a run until it is closed.
pub struct View {
    close: Sender<()>,
    thread: JoinHandle<Frame>,
}

const REDRAW: Duration = Duration::from_millis(250);
const PLAIN_LINE: Duration = Duration::from_secs(5);
/// Moments that rates and curves are made from: the last minute.
const KEPT: usize = 240;

impl View {
    /// Starts to show `live`. The terminal is put back in order when the view is closed, and
    /// also when the program panics.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(title: &str, live: Arc<Live>, addresses: Vec<Address>) -> std::io::Result<Self> {
        let (close, closed) = channel();
        let title = title.to_owned();
        let thread = std::thread::Builder::new().name("drill-view".into()).spawn(move || {
            let mut history = History { title, addresses, moments: Vec::new() };
            let mut screen = stderr().is_terminal().then(Screen::open).and_then(Result::ok);
            let mut line_due = now() + PLAIN_LINE;
            loop {
                history.add(live.snapshot());
                let frame = compose(&history);
                match &mut screen {
                    // A terminal that cannot be written to is no reason to end the run.
                    Some(screen) => drop(screen.draw(&frame)),
                    None if now() >= line_due => {
                        line_due += PLAIN_LINE;
                        let _ = writeln!(stderr(), "{}", plain_line(&history));
                    }
                    None => {}
                }
                match closed.recv_timeout(REDRAW) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                        // The run's last moment, for the picture.
                        history.add(live.snapshot());
                        return compose(&history);
                    }
                }
            }
        })?;
        Ok(Self { close, thread })
    }

    /// Ends the view and gives its last state.
    pub fn close(self) -> Frame {
        let _ = self.close.send(());
        self.thread.join().unwrap_or_default()
    }
}

/// What the view remembers of a run.
struct History {
    title: String,
    addresses: Vec<Address>,
    moments: Vec<(Instant, Snapshot)>,
}

impl History {
    fn add(&mut self, snapshot: Snapshot) {
        if self.moments.len() >= KEPT {
            self.moments.remove(0);
        }
        self.moments.push((now(), snapshot));
    }

    fn last(&self) -> Option<&Snapshot> {
        self.moments.last().map(|(_, snapshot)| snapshot)
    }

    /// Per second over the last `seconds`, of a count.
    fn rate(&self, seconds: usize, count: impl Fn(&Snapshot) -> u64) -> f64 {
        let ticks = seconds * 4;
        self.rate_between(self.moments.len().saturating_sub(ticks + 1), self.moments.len(), count)
    }

    /// Per second in each of the last `points` seconds, oldest first.
    fn curve(&self, points: usize, count: impl Fn(&Snapshot) -> u64) -> Vec<f64> {
        let end = self.moments.len();
        (0..points)
            .rev()
            .filter_map(|back| {
                let end = end.checked_sub(back * 4)?;
                let start = end.checked_sub(5)?;
                Some(self.rate_between(start, end, &count))
            })
            .collect()
    }

    fn rate_between(&self, start: usize, end: usize, count: impl Fn(&Snapshot) -> u64) -> f64 {
        match self.moments.get(start..end) {
            Some([(began, first), .., (ended, last)]) => {
                let seconds = ended.saturating_duration_since(*began).as_secs_f64();
                count(last).saturating_sub(count(first)) as f64 / seconds.max(0.001)
            }
            _ => 0.0,
        }
    }
}

fn plain_line(history: &History) -> String {
    let Some(last) = history.last() else { return String::new() };
    let mut line = format!("{:>4} s", last.elapsed.as_secs());
    for (index, arm) in last.arms.iter().enumerate() {
        let origin = history.rate(5, |snapshot| snapshot.arms[index].origin_requests);
        line += &format!(
            " | {}: {:.0} % hits, {origin:.0}/s to the shop, p99 {}, {} stale",
            arm.title,
            frame::hit_rate(arm) * 100.0,
            milliseconds(arm.p99_ms),
            grouped(arm.stale)
        );
        if arm.errors > 0 {
            line += &format!(", {} errors", grouped(arm.errors));
        }
    }
    line
}

#[cfg(test)]
mod tests;
