//! The memory of a Redis, and the state of the removal of entries from a full one.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// The share of the memory that is used after entries were removed, in percent.
const FREE_DOWN_TO: u64 = 90;

/// The state of the removal of entries.
pub(super) struct Room {
    /// One at a time.
    pub(super) busy: Mutex<()>,
    /// Where the next pass over the server of each bucket begins, so that all entries take their turn.
    pub(super) cursors: Vec<AtomicU64>,
    /// The time of the last line in the log, in ms since 1970.
    logged_ms: AtomicU64,
}

/// The memory of a server as `INFO` shows it.
pub(super) struct Memory {
    pub(super) used: u64,
    pub(super) max: u64,
    pub(super) policy: String,
}

impl Room {
    pub(super) fn of(buckets: usize) -> Self {
        let cursors = (0..buckets).map(|_| AtomicU64::default()).collect();
        Self { busy: Mutex::default(), cursors, logged_ms: AtomicU64::default() }
    }

    /// Whether a line of the log is due at `now_ms`, in ms since 1970: at most one a minute.
    pub(super) fn is_line_due(&self, now_ms: u64) -> bool {
        let is_due = now_ms.abs_diff(self.logged_ms.load(Ordering::Relaxed)) >= 60_000;
        if is_due {
            self.logged_ms.store(now_ms, Ordering::Relaxed);
        }
        is_due
    }
}

impl Memory {
    pub(super) fn parse(info: &str) -> Option<Self> {
        let field = |name: &str| {
            info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
        };
        let number = |name: &str| field(name)?.parse::<u64>().ok();
        let ignored = number("mem_not_counted_for_evict").unwrap_or(0);
        let used = number("used_memory")?.saturating_sub(ignored);
        let policy = field("maxmemory_policy").unwrap_or_default().to_owned();
        Some(Self { used, max: number("maxmemory")?, policy })
    }

    /// Without a limit there is always room.
    pub(super) fn is_free(&self) -> bool {
        self.max == 0 || self.used < self.max / 100 * FREE_DOWN_TO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_parsed() {
        let info = "# Memory\r\nused_memory:950\r\nused_memory_rss:1\r\nmaxmemory:1000\r\n\
                    maxmemory_policy:noeviction\r\nmem_not_counted_for_evict:40\r\n";
        let memory = Memory::parse(info).expect("both");
        assert_eq!((memory.used, memory.max), (910, 1_000));
        assert!(!memory.is_free());
        assert!(Memory { used: 899, ..memory }.is_free());
        assert!(Memory::parse("used_memory:1").is_none());
        assert!(Memory::parse("used_memory:1\nmaxmemory:0").expect("both").is_free());
    }
}
