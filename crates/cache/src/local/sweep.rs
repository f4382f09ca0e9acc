//! The sweep: settles, in the background and in small parts, the entries that an invalidation has made old and
//! left in the store.
//!
//! It proves nothing and no reader waits for it: readers check the entries that it has not reached. It gives the memory back.

use std::convert::Infallible;
use std::time::Duration;

use parking_lot::MutexGuard;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;

use super::entry::LocalEntry;
use super::tier::Local;

/// The entries that are settled while the tier's mutex is held, some tens of microseconds.
const SLICE: usize = 64;

/// The most slices between two pauses.
const SLICES: usize = 8;

/// The time between two pauses, after which no further slice begins: on a busy machine slices take longer.
const TURN: Duration = Duration::from_micros(500);

/// The pause before them, in which readers have the processor.
const PAUSE: Duration = Duration::from_millis(1);

/// A sweep of one tier.
pub(crate) struct Sweep<'a> {
    local: &'a Local,
    pass: Option<Pass<'a>>,
}

/// A pass over all entries of the store.
struct Pass<'a> {
    /// The number of raises at its begin. It settles the entries that they have made old.
    began: u64,
    entries: Box<dyn Iterator<Item = LocalEntry> + Send + 'a>,
}

impl Local {
    /// Sweeps whenever an invalidation has left something to do. Never returns.
    pub(crate) async fn sweep(&self) -> Infallible {
        let mut sweep = Sweep::of(self);
        loop {
            self.lagging.notified().await;
            let mut is_due = true;
            while is_due {
                tokio::time::sleep(PAUSE).await;
                is_due = aside(|| sweep.turn());
            }
        }
    }
}

/// Runs a turn while another thread takes over the tasks of this one, so that no request waits behind it.
fn aside<T>(turn: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(turn),
        // There is no other thread, as in the simulation.
        _ => turn(),
    }
}

impl<'a> Sweep<'a> {
    pub(crate) fn of(local: &'a Local) -> Self {
        Self { local, pass: None }
    }

    /// Takes steps for about the time of a turn. Returns whether there is more to do.
    fn turn(&mut self) -> bool {
        let began = Instant::now();
        self.step(SLICE) && (1..SLICES).all(|_| began.elapsed() >= TURN || self.step(SLICE))
    }

    /// Takes a step: settles about `limit` entries. Returns whether there is more to do.
    pub(crate) fn step(&mut self, limit: usize) -> bool {
        let local = self.local;
        let mut writer = local.writer.lock();
        local.invalidator(&mut writer).settle_lagging(limit);
        if writer.index.lagging() > 0 {
            return true;
        }
        writer.sweep.free(limit);
        if writer.sweep.is_pass_due() {
            MutexGuard::unlock_fair(writer);
            self.visit(limit);
            writer = local.writer.lock();
        }
        writer.index.lagging() > 0 || writer.sweep.is_due()
    }

    /// Visits entries of the store. The lock is not held while none is old.
    fn visit(&mut self, limit: usize) {
        let local = self.local;
        let pass = self.pass.get_or_insert_with(|| Pass {
            began: local.store.raised.stamp(),
            entries: Box::new(local.store.iter()),
        });
        let visited: Vec<_> = pass.entries.by_ref().take(limit).collect();
        let is_end = visited.len() < limit;
        let mut writer = local.writer.lock();
        writer.sweep.visited(pass.began, visited.iter().map(LocalEntry::stamp));
        let mut invalidator = local.invalidator(&mut writer);
        for entry in visited {
            // It may have been replaced or removed since the pass has come by.
            if !local.store.raised.is_current(&entry)
                && let Some(stored) = local.store.peek_like(&entry)
            {
                invalidator.settle_entry(stored);
            }
        }
        if is_end {
            local.store.raised.forget_wildcards(pass.began);
            writer.sweep.ended(pass.began);
            self.pass = None;
        }
    }
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;
