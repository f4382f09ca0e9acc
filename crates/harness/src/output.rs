//! The lines that a child process has printed.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::wait;

/// Older lines are dropped, so that a verbose server can't exhaust the memory.
const KEPT_LINES: usize = 20_000;

#[derive(Clone, Default)]
pub(crate) struct Output(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    kept: VecDeque<String>,
    dropped: usize,
    open_streams: usize,
}

impl Output {
    /// Copies `stream` until it ends, on a thread of its own.
    pub(crate) fn collect(&self, stream: impl Read + Send + 'static) {
        let output = self.clone();
        output.lines().open_streams += 1;
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                output.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
            output.lines().open_streams -= 1;
            output.0.1.notify_all();
        });
    }

    /// Waits until all streams have ended, for at most `limit`: when a process is gone, its last
    /// lines may still be in the pipe, and its children may keep the pipe open for longer.
    pub(crate) fn drain(&self, limit: Duration) {
        let lines = self.lines();
        let open = |lines: &mut Lines| lines.open_streams > 0;
        drop(self.0.1.wait_timeout_while(lines, limit, open));
    }

    fn push(&self, line: String) {
        let mut lines = self.lines();
        if lines.kept.len() == KEPT_LINES {
            lines.kept.pop_front();
            lines.dropped += 1;
        }
        lines.kept.push_back(line);
        self.0.1.notify_all();
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of lines printed so far.
    pub(crate) fn line_count(&self) -> usize {
        let lines = self.lines();
        lines.dropped + lines.kept.len()
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.lines().kept.iter().cloned().collect()
    }

    /// Returns the last lines, for error messages.
    pub(crate) fn tail(&self) -> String {
        let lines = self.lines();
        let from = lines.kept.len().saturating_sub(20);
        lines.kept.iter().skip(from).map(|line| format!("    {line}\n")).collect()
    }

    /// Returns the first line that contains `part`, past the first `skipped` lines; waits for at
    /// most `limit`.
    pub(crate) fn find(&self, skipped: usize, part: &str, limit: Duration) -> Option<String> {
        let deadline = wait::now() + limit;
        let mut seen = skipped;
        let mut lines = self.lines();
        loop {
            let skip = seen.saturating_sub(lines.dropped);
            if let Some(line) = lines.kept.iter().skip(skip).find(|line| line.contains(part)) {
                return Some(line.clone());
            }
            seen = lines.dropped + lines.kept.len();
            let left = deadline.checked_duration_since(wait::now())?;
            lines = self.0.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
