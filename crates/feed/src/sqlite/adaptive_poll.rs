//! The interval between polls, adapted to the write activity.

use std::path::Path;
use std::thread;
use std::time::Duration;

/// The interval of polls without a write notification. Notifications should miss no write, but some
/// file systems may not deliver them.
const QUIET_INTERVAL: Duration = Duration::from_millis(25);

/// The number of polls at the short interval after a write: the commit that the write belongs to
/// may take a while.
const ACTIVE_POLLS: u32 = 100;

/// Waits between two polls: a short interval while the database is written to, a longer one
/// otherwise, if the kernel reports writes (inotify); else always the short one.
pub(super) struct AdaptivePoll {
    active_interval: Duration,
    active_polls_left: u32,
    #[cfg(target_os = "linux")]
    writes: Option<linux::WriteWatch>,
}

impl AdaptivePoll {
    /// Watches the database at `path`; polls at `active_interval` while it is written to.
    pub(super) fn new(path: &Path, active_interval: Duration) -> Self {
        #[cfg(target_os = "linux")]
        return Self {
            active_interval,
            active_polls_left: ACTIVE_POLLS,
            writes: linux::WriteWatch::watch(path),
        };
        #[cfg(not(target_os = "linux"))]
        {
            let _ = path;
            Self { active_interval, active_polls_left: ACTIVE_POLLS }
        }
    }

    /// Waits until the next poll. Returns whether no write was reported meanwhile.
    #[cfg(target_os = "linux")]
    pub(super) fn wait(&mut self) -> bool {
        let Some(writes) = &self.writes else {
            thread::sleep(self.active_interval);
            return false;
        };
        let quiet = self.active_polls_left == 0;
        let written = if quiet {
            writes.wait(QUIET_INTERVAL)
        } else {
            thread::sleep(self.active_interval);
            writes.wait(Duration::ZERO)
        };
        match written {
            Some(true) => self.active_polls_left = ACTIVE_POLLS,
            Some(false) => self.active_polls_left = self.active_polls_left.saturating_sub(1),
            None => self.writes = None,
        }
        quiet && written == Some(false)
    }

    /// Waits until the next poll.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn wait(&mut self) -> bool {
        thread::sleep(self.active_interval);
        false
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::OwnedFd;
    use std::path::Path;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    use rustix::io::{Errno, read};

    /// Reports writes in the database's folder, which contains its log and journal.
    pub(super) struct WriteWatch(OwnedFd);

    impl WriteWatch {
        /// Returns `None` if the kernel does not report writes (the user's watches are used up,
        /// say).
        pub(super) fn watch(path: &Path) -> Option<Self> {
            let path = path.canonicalize().ok()?;
            let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
            let flags = WatchFlags::MODIFY
                | WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVE
                | WatchFlags::ONLYDIR;
            add_watch(&inotify, path.parent()?, flags).ok()?;
            Some(Self(inotify))
        }

        /// Whether a write was reported, waiting for at most `limit`. Returns `None` if writes are
        /// no longer reported.
        pub(super) fn wait(&self, limit: Duration) -> Option<bool> {
            let limit = Timespec::try_from(limit).ok()?;
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&limit)) {
                Ok(0) | Err(Errno::INTR) => return Some(false),
                Ok(_) => {}
                Err(_) => return None,
            }
            let mut events = [0; 4_096];
            loop {
                match read(&self.0, &mut events) {
                    Ok(1..) | Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return Some(true),
                    Ok(0) | Err(_) => return None,
                }
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn write_ends_quiet_phase() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.db");
        std::fs::write(&path, "").expect("it is written");
        let mut adaptive = AdaptivePoll::new(&path, Duration::ZERO);
        assert!(adaptive.writes.is_some(), "the kernel reports writes");
        let polls = (0..1_000).take_while(|_| !adaptive.wait()).count();
        assert_eq!(polls, ACTIVE_POLLS as usize, "active at first, then quiet");
        std::fs::write(folder.path().join("shop.db-wal"), "frame").expect("it is written");
        assert!(!adaptive.wait());
        assert!(!adaptive.wait(), "still active after the write");
    }
}
