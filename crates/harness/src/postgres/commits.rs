//! Commits that are in the log and not yet visible.

use std::{thread, time::Duration};

use anyhow::Result;

use super::Postgres;
use crate::wait;

const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Has a number and a record in the log, and nothing that a decoder would report.
const PROBE: &str = "set application_name = 'harness probe'; set synchronous_commit = on; \
                     select pg_current_xact_id(), pg_create_restore_point('harness')";
const CANCEL_WAITING: &str = "select pg_cancel_backend(pid) from pg_stat_activity \
                              where application_name = 'harness probe' and wait_event = 'SyncRep'";

impl Postgres {
    /// Makes each later commit wait for a standby that does not exist: it is in the log, and no other session sees it
    /// until [`Postgres::release_commits`].
    ///
    /// # Errors
    /// When the server can't be asked, or does not apply the setting in time.
    pub fn hold_commits(&self) -> Result<()> {
        self.psql(
            "alter system set synchronous_standby_names = 'nobody'; select pg_reload_conf()",
        )?;
        // Commits look at a flag that another process of the server sets once it has read the setting. No view shows
        // it, so commit until a commit waits.
        wait::until("a commit that waits", RELOAD_TIMEOUT, || {
            thread::scope(|scope| {
                let probe = scope.spawn(|| self.psql(PROBE));
                let mut waited = false;
                while !probe.is_finished() {
                    waited |= self.psql(CANCEL_WAITING)? == "t";
                }
                Ok(waited.then_some(()))
            })
        })
    }

    /// Ends [`Postgres::hold_commits`]; waiting commits end.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub fn release_commits(&self) -> Result<()> {
        self.psql("alter system reset synchronous_standby_names; select pg_reload_conf()").map(drop)
    }
}
