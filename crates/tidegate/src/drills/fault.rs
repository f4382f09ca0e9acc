//! The faults of a drill of the sale.

use std::ffi::OsString;
use std::path::PathBuf;

use super::child::find;

/// A fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// A node is killed with SIGKILL, and started again.
    KillNode,
    /// A node is killed, and started with a wall clock that is an hour ahead.
    ClockAhead,
    /// The provider closes each connection.
    ProviderAway,
    /// The provider refuses calls, executes some without an answer, and repeats errors of executed ones.
    ProviderErrors,
    /// PostgreSQL is stopped in an orderly way, and started again.
    RestartDatabase,
    /// All processes of PostgreSQL are killed, and it is started again.
    CrashDatabase,
    /// Each answer of PostgreSQL takes 100 ms longer.
    SlowDatabase,
}

impl Fault {
    pub(crate) const ALL: [Self; 7] = [
        Self::KillNode,
        Self::ClockAhead,
        Self::ProviderAway,
        Self::ProviderErrors,
        Self::RestartDatabase,
        Self::CrashDatabase,
        Self::SlowDatabase,
    ];

    /// Returns the word in reports.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::KillNode => "kill-node",
            Self::ClockAhead => "clock-ahead",
            Self::ProviderAway => "provider-away",
            Self::ProviderErrors => "provider-errors",
            Self::RestartDatabase => "restart-database",
            Self::CrashDatabase => "crash-database",
            Self::SlowDatabase => "slow-database",
        }
    }

    /// Whether it is one of a PostgreSQL. SQLite is in the nodes: killing one is its crash, and their clock is its clock.
    pub(crate) const fn needs_postgres(self) -> bool {
        matches!(
            self,
            Self::ClockAhead | Self::RestartDatabase | Self::CrashDatabase | Self::SlowDatabase
        )
    }
}

/// Returns the variables that set the wall clock of a process an hour ahead; `None`: libfaketime is not installed.
pub(super) fn clock_ahead() -> Option<Vec<(OsString, OsString)>> {
    let libraries = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = libraries.map(|entry| entry.path().join("faketime")).collect();
    folders.push("/usr/lib/faketime".into());
    let library = find("libfaketimeMT.so.1", &folders)?;
    let set = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    Some(vec![
        (OsString::from("LD_PRELOAD"), library.into()),
        set("FAKETIME", "+3600s"),
        set("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        set("DONT_FAKE_MONOTONIC", "1"),
    ])
}
