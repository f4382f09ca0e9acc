//! A log line that may come at any rate is written once a minute.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between two lines.
const PAUSE: Duration = Duration::from_secs(60);

/// The state machine of the lines of one kind.
#[derive(Debug, Default)]
pub struct RareLog {
    last: Option<Instant>,
    omitted: u64,
}

impl RareLog {
    /// Counts an event at `now`. Returns the number of events since the last line, if a line is due.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        self.omitted += 1;
        if self.last.is_some_and(|last| now < last + PAUSE) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.omitted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_a_minute() {
        let (begun, mut log) = (Instant::now(), RareLog::default());
        let lines: Vec<u64> = (0..=1_200)
            .filter_map(|nth| log.due(begun + Duration::from_millis(100) * nth))
            .collect();
        assert_eq!(lines, [1, 600, 600]);
    }
}
