//! A stop during the start, and as the first process of a container.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use super::{serve, signal, wait};
use crate::stack::DEADLINE;

/// A database that accepts connections and says nothing, and a configuration with it.
struct Silent {
    database: TcpListener,
    folder: tempfile::TempDir,
}

impl Silent {
    fn start() -> Self {
        let database = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let folder = tempfile::tempdir().expect("a folder");
        let silent = Self { database, folder };
        let config =
            format!("[source.shop]\nurl = \"postgres://shop@{}/shop\"\n", silent.address());
        std::fs::write(silent.config(), config).expect("written");
        silent
    }

    fn address(&self) -> SocketAddr {
        self.database.local_addr().expect("an address")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("tidegate.toml")
    }
}

#[test]
fn stop_during_start_ends_process() {
    let silent = Silent::start();
    for name in ["TERM", "INT"] {
        let mut node = serve(&silent.config(), &[]);
        let connection = silent.database.accept().expect("it connects");
        signal(node.id(), name);
        let status = node.wait(DEADLINE).expect("ended");
        assert_eq!(status.code(), Some(0), "{}", node.lines().join("\n"));
        drop(connection);
    }
}

/// To the first process of a container the kernel gives no signal for which it has no handler.
#[test]
fn first_process_stops_during_start() {
    let silent = Silent::start();
    let namespaces = ["--map-root-user", "--pid", "--fork", "--kill-child"];
    let possible = std::process::Command::new("unshare").args(namespaces).arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("not run: this system allows no namespace of processes");
        return;
    }
    let unshare =
        ["/usr/bin/unshare", "/bin/unshare"].into_iter().find(|path| PathBuf::from(path).is_file());
    let mut parent = harness::Process::builder(unshare.expect("unshare"))
        .args(namespaces)
        .args([env!("CARGO_BIN_EXE_tidegate"), "serve"])
        .arg(silent.config())
        .start()
        .expect("it starts");
    let _connection = silent.database.accept().expect("it connects");
    let children = format!("/proc/{0}/task/{0}/children", parent.id());
    let first = || std::fs::read_to_string(&children).unwrap_or_default().trim().parse().ok();
    wait("the first process", || first().is_some());
    signal(first().expect("a process"), "TERM");
    let status = parent.wait(DEADLINE).expect("ended");
    assert_eq!(status.code(), Some(0), "{}", parent.lines().join("\n"));
}
