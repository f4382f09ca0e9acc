//! The first hour of a new user: typos, forms of a configuration, `check --connect`, `init`, and the commands around.

mod commands;
mod connect;
mod forms;
mod init;
mod typos;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::{Port, http};

use crate::stack::{DEADLINE, Node, start};

/// A folder in which a user runs commands.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
    env: Vec<(String, String)>,
}

/// The end of a command: its exit code, and both outputs.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), env: Vec::new() }
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("readable")
    }

    /// Runs a command in the folder, without the variables of the machine's user.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(args).current_dir(self.folder.path()).env_clear();
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env("PATH", path).env("USER", "ada");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let Output { status, stdout, stderr } = command.output().expect("the binary runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Starts a node with a written configuration and free addresses.
    pub(crate) fn serve(&self, name: &str) -> Node {
        let ports = [(); 2].map(|()| Port::reserve().expect("a free port"));
        let [data, admin] = ports.each_ref().map(Port::addr);
        let text = self.read(name);
        let served = format!("{text}\n[listen]\ndata = \"{data}\"\nadmin = \"{admin}\"\n");
        let path = self.path(&format!("served-{name}"));
        std::fs::write(&path, served).expect("written");
        let env: Vec<_> =
            self.env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Node { process: start(&path, &env), gateway: data, data, admin, _ports: ports.into() }
            .ready()
    }
}

impl Ended {
    /// Returns both outputs.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Returns the answer to a read of the data API.
fn answer(node: &Node, path: &str) -> String {
    http::get(node.data, path, DEADLINE).expect("an answer").text()
}

/// Writes an SQLite database.
fn sqlite(path: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).expect("a database");
    connection.execute_batch(sql).unwrap_or_else(|err| panic!("{sql}: {err}"));
}
