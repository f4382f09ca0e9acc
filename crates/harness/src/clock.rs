//! A wall clock that tests can shift.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{folder, programs};

const LIBRARY: &str = "libfaketimeMT.so.1";

/// The wall clock of the processes that are started with it. Their monotonic clocks are not shifted.
pub struct WallClock {
    library: PathBuf,
    folder: TempDir,
}

impl WallClock {
    /// Starts a clock that shows the real time.
    ///
    /// # Errors
    /// When libfaketime is missing.
    pub fn start() -> Result<Self> {
        let library = programs::require(LIBRARY, &folders(), "libfaketime")?;
        let clock = Self { library, folder: folder::private("clock")? };
        clock.set_offset(0)?;
        Ok(clock)
    }

    /// Shifts it to `seconds` after the real time; negative: before.
    ///
    /// # Errors
    /// When its file can't be written.
    pub fn set_offset(&self, seconds: i64) -> Result<()> {
        // Atomically: the file is read each time that a process asks for the time.
        let next = self.folder.path().join("next");
        fs::write(&next, format!("{seconds:+}\n"))
            .and_then(|()| fs::rename(&next, self.file()))
            .context("harness: can't set the clock")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// Returns the environment variables for the processes that use it.
    #[must_use]
    pub fn env(&self) -> Vec<(OsString, OsString)> {
        let set = |name: &str, value: &Path| (name.into(), value.as_os_str().to_owned());
        let yes = Path::new("1");
        vec![
            set("LD_PRELOAD", &self.library),
            set("FAKETIME_TIMESTAMP_FILE", &self.file()),
            set("FAKETIME_NO_CACHE", yes),
            set("FAKETIME_DONT_FAKE_MONOTONIC", yes),
            set("DONT_FAKE_MONOTONIC", yes),
        ]
    }
}

impl Drop for WallClock {
    /// The library keeps files in /dev/shm for each process, which stay there when it is killed.
    fn drop(&mut self) {
        for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let left = name.to_str().and_then(|name| {
                name.strip_prefix("faketime_shm_").or(name.strip_prefix("sem.faketime_sem_"))
            });
            if left.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Returns the folders of the library on Debian, for each architecture.
fn folders() -> Vec<PathBuf> {
    let libraries = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let nested = libraries.map(|entry| entry.path().join("faketime"));
    nested.chain([PathBuf::from("/usr/lib/faketime")]).collect()
}
