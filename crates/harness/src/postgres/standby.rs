//! Standbys: made from a running server, streaming from it.

use std::{fs, io::Write as _, time::Duration};

use anyhow::{Context, Result};

use super::{Postgres, cluster, launch};
use crate::{child, folder, output::Output, port, wait};

/// How long a standby may take for what it is told.
const LIMIT: Duration = Duration::from_secs(60);

/// A connection that was lost is looked for at once, nobody is waited for, and the copied files are
/// not written to disk at the start, which takes seconds: the machine does not fail, the server does.
const SETTINGS: &str =
    "wal_retrieve_retry_interval = '100ms'\nsynchronous_standby_names = ''\nfsync = off\n";

impl Postgres {
    /// A standby of this server, which streams from it. It is a server like any other, but reads only;
    /// a change of its settings is for itself alone.
    ///
    /// # Errors
    /// When `pg_basebackup` is missing or fails, or the standby does not come up.
    pub fn standby(&self) -> Result<Self> {
        let programs = cluster::Programs::find()?;
        let folder = folder::private("standby")?;
        let data = programs.data_folder(folder.path())?;
        let mut backup = child::command(&programs.pg_basebackup, programs.user.as_ref())?;
        backup.arg("-D").arg(&data).args(["-R", "-X", "stream", "-c", "fast", "--no-sync"]);
        backup.arg("-d").arg(self.url("postgres"));
        cluster::run(&mut backup)?;
        let mut conf = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        conf.write_all(SETTINGS.as_bytes())?;
        let output = Output::default();
        let (port, daemon) =
            port::start_on_some_port(|port| launch(&programs, &data, port, (&[], &output)))?;
        let (daemon, env) = (Some(daemon), Vec::new());
        Ok(Self { daemon, output, port, programs, data, env, disk: None, _folder: folder })
    }

    /// Stops the replay on this standby: it goes on receiving, and shows no more of it. Returns when
    /// nothing is replayed any more.
    ///
    /// # Errors
    /// When it is no standby, or does not stop in time.
    pub fn pause_replay(&self) -> Result<()> {
        self.psql("select pg_wal_replay_pause()")?;
        wait::until("the replay's pause", LIMIT, || {
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

    /// Makes this standby a primary of its own. Returns when it takes writes.
    ///
    /// # Errors
    /// When it is no standby, or does not become a primary in time.
    pub fn promote(&self) -> Result<()> {
        let promoted = self.psql("select pg_promote(wait_seconds => 60)")?;
        (promoted == "t").then_some(()).context("harness: the standby was not promoted")
    }

    /// Waits until this standby shows everything that `primary` has written by now.
    ///
    /// # Errors
    /// When it does not get there in time.
    pub fn catch_up(&self, primary: &Self) -> Result<()> {
        // A position that is flushed and sent, unlike the end of what was inserted.
        let end = primary.psql("select pg_logical_emit_message(true, 'harness', '')")?;
        let reached = format!("select pg_last_wal_replay_lsn() >= '{end}'");
        wait::until("the standby's replay", LIMIT, || {
            Ok((self.psql(&reached)? == "t").then_some(()))
        })
    }
}
