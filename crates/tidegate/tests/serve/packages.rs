//! The files that people install, run and read: the unit, the manifests, the package, and the examples of the documents.

mod debian;
mod examples;
mod health;
mod kubernetes;
mod service_manager;
mod stop;

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Port, Process};

use crate::stack::{DEADLINE, Node};

/// Returns a path in the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Returns the text of a file of the repository.
fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|err| panic!("{path}: {err}"))
}

/// A node on SQLite, and the folder with its configuration `tidegate.toml`.
struct Service {
    node: Node,
    folder: tempfile::TempDir,
}

impl Service {
    /// Starts a node with variables of its environment, and waits until it is ready. `options`: more lines of the
    /// configuration.
    fn start(options: &str, env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let shop = rusqlite::Connection::open(folder.path().join("shop.db")).expect("a database");
        shop.execute_batch("create table products(id integer primary key)").expect("a table");
        let ports = [(); 2].map(|()| Port::reserve().expect("a free port"));
        let [data, admin] = ports.each_ref().map(Port::addr);
        let database = folder.path().join("shop.db");
        let text = format!(
            "{options}\n[listen]\ndata = \"{data}\"\nadmin = \"{admin}\"\n[source.shop]\nurl = \"sqlite:{}\"\n",
            database.display()
        );
        let config = folder.path().join("tidegate.toml");
        std::fs::write(&config, text).expect("written");
        let process = serve(&config, env);
        let node = Node { process, gateway: data, data, admin, _ports: ports.into() }.ready();
        Self { node, folder }
    }
}

/// Starts a node without waiting.
fn serve(config: &Path, env: &[(&str, &str)]) -> Process {
    let command = Process::builder(env!("CARGO_BIN_EXE_tidegate")).arg("serve").arg(config);
    let command = env.iter().fold(command, |command, (name, value)| command.env(name, value));
    command.start().expect("the binary starts")
}

/// Sends a signal to a process.
fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

fn wait(what: &str, holds: impl Fn() -> bool) {
    harness::until(what, DEADLINE, || Ok(holds().then_some(()))).expect("in time");
}
