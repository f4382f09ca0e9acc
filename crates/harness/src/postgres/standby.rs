//! Standbys that stream from a running server.

use std::{fs, io::Write as _, time::Duration};

use anyhow::{Context, Result};

use super::{Postgres, programs::Programs};
use crate::{child, folder, programs, wait};

const REPLAY_TIMEOUT: Duration = Duration::from_secs(60);

/// It reconnects at once, waits for no other standby, and does not sync the copied files at the
/// start, which takes seconds: these tests have servers that fail, not machines.
const SETTINGS: &str =
    "wal_retrieve_retry_interval = '100ms'\nsynchronous_standby_names = ''\nfsync = off\n";

impl Postgres {
    /// Starts a read-only standby that streams from this server and has settings of its own.
    ///
    /// # Errors
    /// When `pg_basebackup` is missing or fails, or the standby does not become ready.
    pub fn standby(&self) -> Result<Self> {
        let tools = Programs::find()?;
        let folder = folder::private("standby")?;
        let data = tools.data_folder(folder.path())?;
        let mut backup = child::command(&tools.pg_basebackup, tools.user.as_ref())?;
        backup.arg("-D").arg(&data).args(["-R", "-X", "stream", "-c", "fast", "--no-sync"]);
        backup.arg("-d").arg(self.url("postgres"));
        programs::run(&mut backup)?;
        let mut conf = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        conf.write_all(SETTINGS.as_bytes())?;
        Self::launch(tools, data, Vec::new(), None, folder)
    }

    /// Pauses the replay on this standby and waits for that: it goes on to receive the log, and readers
    /// see no newer state.
    ///
    /// # Errors
    /// When it is no standby, or does not stop in time.
    pub fn pause_replay(&self) -> Result<()> {
        self.psql("select pg_wal_replay_pause()")?;
        wait::until("the pause of the replay", REPLAY_TIMEOUT, || {
            Ok((self.psql("select pg_get_wal_replay_pause_state()")? == "paused").then_some(()))
        })
    }

    /// Ends [`Postgres::pause_replay`].
    ///
    /// # Errors
    /// When it is no standby.
    pub fn resume_replay(&self) -> Result<()> {
        self.psql("select pg_wal_replay_resume()").map(drop)
    }

    /// Promotes this standby to a primary and waits until it accepts writes.
    ///
    /// # Errors
    /// When it is no standby, or does not become a primary in time.
    pub fn promote(&self) -> Result<()> {
        let promoted = self.psql("select pg_promote(wait_seconds => 60)")?;
        (promoted == "t").then_some(()).context("harness: the standby was not promoted")
    }

    /// Waits until this standby has replayed all that `primary` has written so far.
    ///
    /// # Errors
    /// When that takes more than a minute.
    pub fn catch_up(&self, primary: &Self) -> Result<()> {
        // The position of a message is flushed and sent, unlike the end of the inserted records.
        let end = primary.psql("select pg_logical_emit_message(true, 'harness', '')")?;
        let reached = format!("select pg_last_wal_replay_lsn() >= '{end}'");
        wait::until("the replay of a standby", REPLAY_TIMEOUT, || {
            Ok((self.psql(&reached)? == "t").then_some(()))
        })
    }
}
