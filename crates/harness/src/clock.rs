//! A wall clock that jumps.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{folder, programs};

const LIBRARY: &str = "libfaketimeMT.so.1";

/// The wall clock of those processes that are started with it; their monotonic clocks stay as they are.
pub struct WallClock {
    library: PathBuf,
    folder: TempDir,
}

impl WallClock {
    /// One that is right.
    ///
    /// # Errors
    /// When libfaketime is missing.
    pub fn start() -> Result<Self> {
        let library = programs::find(LIBRARY, &folders())
            .ok_or_else(|| programs::missing(LIBRARY, "libfaketime"))?;
        let clock = Self { library, folder: folder::private("clock")? };
        clock.set_off(0)?;
        Ok(clock)
    }

    /// From now on it is off by so many seconds.
    ///
    /// # Errors
    /// When its file can't be written.
    pub fn set_off(&self, seconds: i64) -> Result<()> {
        // In one step: its readers look at every question for the time.
        let next = self.folder.path().join("next");
        fs::write(&next, format!("{seconds:+}\n"))
            .and_then(|()| fs::rename(&next, self.file()))
            .context("harness: can't set the clock")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// What a process has to be started with.
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
    /// The library keeps something in /dev/shm for each process, which stays there if it is killed.
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

/// Where Debian keeps it, for each kind of machine.
fn folders() -> Vec<PathBuf> {
    let libraries = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let nested = libraries.map(|entry| entry.path().join("faketime"));
    nested.chain([PathBuf::from("/usr/lib/faketime")]).collect()
}
