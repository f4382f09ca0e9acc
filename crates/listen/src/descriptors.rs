//! The file descriptors of the process.

use std::fs::File;
use std::io;

use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The number of descriptors that are kept back.
const RESERVED: usize = 16;

/// The descriptors that listeners leave to everything else: connections to the upstream, to the database and to
/// Redis, files.
const OTHERS: u64 = 256;

/// The most descriptors that are left to connections to the upstream.
const UPSTREAM: u64 = 2_048;

/// The part of a listener in the reserve.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Priority {
    /// It accepts from the reserve.
    Reserved,
    /// It accepts only while the reserve is whole.
    Normal,
}

/// Descriptors that are kept back for the time when all others are used up.
///
/// Each is an open file that does nothing. To accept a connection from the reserve is to close one of them. What
/// becomes free fills the reserve first.
#[derive(Debug)]
pub struct DescriptorReserve {
    spare: Mutex<Vec<File>>,
    size: usize,
}

impl DescriptorReserve {
    /// Opens a reserve.
    ///
    /// # Errors
    /// The process has no descriptors for it.
    pub fn open() -> io::Result<Self> {
        let spare = (0..RESERVED).map(|_| spare_file()).collect::<io::Result<Vec<File>>>()?;
        Ok(Self { size: spare.len(), spare: Mutex::new(spare) })
    }

    /// Creates a reserve without descriptors, for a listener of its own process.
    #[must_use]
    pub fn none() -> Self {
        Self { spare: Mutex::default(), size: 0 }
    }

    /// Fills the reserve. Returns whether it is whole.
    pub(crate) fn fill(&self) -> bool {
        let mut spare = self.spare.lock();
        while spare.len() < self.size {
            match spare_file() {
                Ok(file) => spare.push(file),
                Err(_) => return false,
            }
        }
        true
    }

    /// Frees one descriptor. False: there is none left.
    pub(crate) fn spend(&self) -> bool {
        self.spare.lock().pop().is_some()
    }
}

fn spare_file() -> io::Result<File> {
    File::open("/dev/null")
}

/// Returns whether `err` says that the process, or the system, has no descriptors left.
#[must_use]
pub fn is_out_of_descriptors(err: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = err.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// Raises the limit of open files to the most that the process may have, and returns it. `None`: there is no
/// limit.
pub fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    }
}

/// Returns the number of client connections that leave enough of `descriptors` to everything else.
#[must_use]
pub fn client_connections_within(descriptors: u64) -> usize {
    let upstream = (descriptors / 4).min(UPSTREAM);
    let others = OTHERS.min(descriptors / 4);
    usize::try_from(descriptors - upstream - others).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spent_reserve_is_filled() {
        let reserve = DescriptorReserve::open().expect("descriptors");
        assert!(reserve.fill());
        for _ in 0..RESERVED {
            assert!(reserve.spend());
        }
        assert!(!reserve.spend(), "nothing is left");
        assert!(reserve.fill() && reserve.spend());
    }

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        for (descriptors, connections) in
            [(4, 2), (256, 128), (1_024, 512), (20_000, 17_696), (1_048_576, 1_046_272)]
        {
            assert_eq!(client_connections_within(descriptors), connections, "{descriptors}");
        }
    }
}
