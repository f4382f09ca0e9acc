//! PgBouncer in front of a running server.

use std::{fs, net::SocketAddr, net::TcpStream, time::Duration};

use anyhow::Result;
use tempfile::TempDir;

use super::Postgres;
use crate::{
    child::{self, Daemon},
    folder,
    output::Output,
    port::{self, Port},
    programs,
};

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running PgBouncer; stopped on drop.
pub struct PgBouncer {
    _daemon: Daemon,
    port: Port,
    _folder: TempDir,
}

impl Postgres {
    /// Starts a PgBouncer in front of this server. `settings` are lines of its configuration, such as
    /// `pool_mode = session`.
    ///
    /// # Errors
    /// When PgBouncer is missing or does not come up; with its last lines.
    pub fn pooler(&self, settings: &str) -> Result<PgBouncer> {
        let program = programs::require("pgbouncer", &[], "pgbouncer")?;
        let folder = folder::private("pgbouncer")?;
        let users = folder.path().join("users.txt");
        fs::write(&users, "\"postgres\" \"\"\n\"shop\" \"\"\n")?;
        let (port, daemon) = port::start_on_free_port(|port| {
            let file = folder.path().join("pgbouncer.ini");
            fs::write(&file, self.pooler_settings(port, &users.display().to_string(), settings))?;
            // It refuses root, as PostgreSQL does.
            let mut command = child::command(&program, self.programs.user.as_ref())?;
            command.arg(&file);
            let mut daemon = Daemon::spawn("pgbouncer", command, Output::default())?;
            daemon.wait_until_ready(START_TIMEOUT, || TcpStream::connect(port.addr()).is_ok())?;
            Ok(daemon)
        })?;
        Ok(PgBouncer { _daemon: daemon, port, _folder: folder })
    }

    fn pooler_settings(&self, port: &Port, users: &str, settings: &str) -> String {
        let (server, listen) = (self.addr(), port.addr());
        format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = {}\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {users}\n{settings}\n",
            server.ip(),
            server.port(),
            listen.ip(),
            listen.port()
        )
    }
}

impl PgBouncer {
    /// Returns its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }
}
