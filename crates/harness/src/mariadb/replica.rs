//! Replicas that follow a running server's binary log.

use anyhow::{Result, ensure};

use super::MariaDb;

/// The longest wait for a replica to apply the log, in seconds.
const CATCH_UP_S: u32 = 60;

impl MariaDb {
    /// Starts a read-only replica that applies this server's log from its beginning.
    ///
    /// # Errors
    /// When the replica does not become ready, or can't follow.
    pub fn replica(&self) -> Result<Self> {
        let replica = Self::builder()
            .setting("server-id", "2")
            .setting("read-only", "ON")
            .setting("relay-log", "relay")
            .start()?;
        replica.follow(self)?;
        Ok(replica)
    }

    /// Lets this server apply the log of `primary`, after the last transaction that it has applied.
    ///
    /// # Errors
    /// When a statement fails.
    pub fn follow(&self, primary: &Self) -> Result<()> {
        self.sql(&format!(
            "stop slave; change master to master_host = '127.0.0.1', master_port = {}, \
             master_user = 'root', master_password = '', master_connect_retry = 1, \
             master_use_gtid = slave_pos; start slave",
            primary.addr().port()
        ))
        .map(drop)
    }

    /// Waits until this replica has applied everything that `primary` has committed.
    ///
    /// # Errors
    /// When it does not follow, or not in time.
    pub fn catch_up(&self, primary: &Self) -> Result<()> {
        let end = primary.sql("select @@gtid_binlog_pos")?;
        let waited = self.sql(&format!("select master_gtid_wait('{end}', {CATCH_UP_S})"))?;
        let state = self.sql("show slave status\\G").unwrap_or_default();
        ensure!(waited == "0", "the replica has not reached {end}:\n{state}");
        Ok(())
    }
}
