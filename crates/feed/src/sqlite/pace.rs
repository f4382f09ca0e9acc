//! When to look again whether somebody has committed.

use std::path::Path;
use std::thread;
use std::time::Duration;

/// So often, if the kernel tells of writes, is looked without having been told: nothing should be
/// missed, but a file system may be stranger than was thought.
const QUIET: Duration = Duration::from_millis(25);

/// So many times after a write is looked at the full pace: the commit that the write belongs to may
/// take a while.
const LIVELY: u32 = 100;

/// The pause between two looks: short while somebody writes to the database, longer while nobody
/// does, where the kernel tells (inotify); else always short.
pub(super) struct Pace {
    poll: Duration,
    left: u32,
    #[cfg(target_os = "linux")]
    writes: Option<linux::Writes>,
}

impl Pace {
    /// For the database at `path`, with `poll` between two looks while it is written to.
    pub(super) fn new(path: &Path, poll: Duration) -> Self {
        #[cfg(target_os = "linux")]
        return Self { poll, left: LIVELY, writes: linux::Writes::watch(path) };
        #[cfg(not(target_os = "linux"))]
        {
            let _ = path;
            Self { poll, left: LIVELY }
        }
    }

    /// Waits until it is time to look. Answers whether all was quiet meanwhile.
    #[cfg(target_os = "linux")]
    pub(super) fn wait(&mut self) -> bool {
        let Some(writes) = &self.writes else {
            thread::sleep(self.poll);
            return false;
        };
        let quiet = self.left == 0;
        let written = if quiet {
            writes.wait(QUIET)
        } else {
            thread::sleep(self.poll);
            writes.wait(Duration::ZERO)
        };
        match written {
            Some(true) => self.left = LIVELY,
            Some(false) => self.left = self.left.saturating_sub(1),
            None => self.writes = None,
        }
        quiet && written == Some(false)
    }

    /// Waits until it is time to look.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn wait(&mut self) -> bool {
        thread::sleep(self.poll);
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

    /// Tells when somebody writes in the database's folder: its log and journal come and go there.
    pub(super) struct Writes(OwnedFd);

    impl Writes {
        /// `None`: the kernel does not tell (the user's watches are used up, say).
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

        /// Whether somebody wrote, waiting for at most `limit`. `None`: it is not told any more.
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
    fn a_write_of_somebody_else_ends_the_quiet() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.db");
        std::fs::write(&path, "").expect("it is written");
        let mut pace = Pace::new(&path, Duration::ZERO);
        assert!(pace.writes.is_some(), "this kernel tells");
        let looks = (0..1_000).take_while(|_| !pace.wait()).count();
        assert_eq!(looks, LIVELY as usize, "lively at first, quiet then");
        std::fs::write(folder.path().join("shop.db-wal"), "frame").expect("it is written");
        assert!(!pace.wait());
        assert!(!pace.wait(), "and for a while after it");
    }
}
