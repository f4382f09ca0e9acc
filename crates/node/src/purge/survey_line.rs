//! Dry runs wait in a line: one pass over the shared tier at a time.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// The dry runs that are in the line at most, the running one included.
pub(super) const DRY_RUNS_MAX: usize = 40;

/// The longest wait in the line.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The line of a node.
pub(super) struct SurveyLine {
    places: Semaphore,
    turn: Mutex<()>,
}

/// The turn of one dry run. The next one follows when it is dropped.
pub(super) struct Turn<'a> {
    _turn: MutexGuard<'a, ()>,
    _place: SemaphorePermit<'a>,
}

impl SurveyLine {
    pub(super) fn new() -> Self {
        Self { places: Semaphore::new(DRY_RUNS_MAX), turn: Mutex::new(()) }
    }

    /// Waits for the turn. `None`: the line is full, or too slow.
    pub(super) async fn turn(&self) -> Option<Turn<'_>> {
        let place = self.places.try_acquire().ok()?;
        let turn = timeout(WAIT_MAX, self.turn.lock()).await.ok()?;
        Some(Turn { _turn: turn, _place: place })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn full_line_refuses_and_late_turn_gives_up() {
        let line = Arc::new(SurveyLine::new());
        let first = line.turn().await.expect("its turn");
        let mut waiting = JoinSet::new();
        for _ in 1..DRY_RUNS_MAX {
            let line = Arc::clone(&line);
            waiting.spawn(async move { line.turn().await.is_none() });
        }
        tokio::task::yield_now().await;
        assert!(line.turn().await.is_none(), "no place is left");
        let gave_up = waiting.join_all().await;
        assert!(gave_up.iter().all(|gave_up| *gave_up), "no turn came within the time");
        drop(first);
        assert!(line.turn().await.is_some());
    }
}
