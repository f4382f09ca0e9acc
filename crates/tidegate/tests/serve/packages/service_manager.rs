//! The messages to systemd, on a socket as systemd has.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::{Service, serve, signal};
use crate::stack::{DEADLINE, now};

/// The socket of a service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn at(folder: &tempfile::TempDir) -> (Self, String) {
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        (Self::of(socket), path.display().to_string())
    }

    fn of(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Self(socket)
    }

    fn next(&self) -> String {
        let mut message = vec![0; 1 << 18];
        let length = self.0.recv(&mut message).expect("a message in time");
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    /// Returns the next message that is no sign of life.
    fn news(&self) -> String {
        loop {
            let message = self.next();
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }
}

#[test]
fn start_reload_and_stop_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let (manager, path) = Manager::at(&folder);
    let options = "[node]\nstop_delay = \"1s\"\n";
    let mut service = Service::start(options, &[("NOTIFY_SOCKET", &path)]);
    assert_eq!(manager.news(), "READY=1\nSTATUS=serving");
    let (file, process) = (service.folder.path().join("tidegate.toml"), service.node.process.id());
    let config = std::fs::read_to_string(&file).expect("readable");

    signal(process, "HUP");
    let reloading = manager.news();
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
    let time = time.split('\n').next().and_then(|time| time.parse::<u64>().ok()).expect("a time");
    let uptime = std::fs::read_to_string("/proc/uptime").expect("readable");
    let uptime: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).expect("a time");
    let age = uptime - Duration::from_micros(time).as_secs_f64();
    assert!((-1.0..60.0).contains(&age), "{age} s ago by the manager's clock");
    assert_eq!(manager.news(), "READY=1\nSTATUS=serving");

    let problems: String = (0..500).map(|n| format!("\n[egde{n}]\n")).collect();
    std::fs::write(&file, format!("{config}{problems}")).expect("written");
    signal(process, "HUP");
    assert!(manager.news().starts_with("RELOADING=1\n"));
    let refused = manager.news();
    let status = refused.strip_prefix("READY=1\nSTATUS=").expect("a refused reload ends, too");
    assert!(status.contains("the configuration of before serves") && status.contains("egde"));
    assert!(!status.contains('\n'), "{status}");
    assert!(refused.len() < 4096, "systemd ignores a message of {} bytes", refused.len());

    assert!(service.node.process.terminate(DEADLINE).expect("ended").success());
    let stops = [manager.news(), manager.news()];
    for stop in stops {
        let time = stop.strip_prefix("STOPPING=1\nEXTEND_TIMEOUT_USEC=").expect(&stop);
        let time = time.split('\n').next().and_then(|time| time.parse::<u64>().ok());
        assert!(time.is_some_and(|micros| micros > 10_000_000), "{stop}");
    }
}

/// The manager of a user, and of containers, has a name in place of a path.
#[test]
fn abstract_socket_reached() {
    let name = format!("tidegate-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let manager = Manager::of(UnixDatagram::bind_addr(&address).expect("a socket"));
    let _service = Service::start("", &[("NOTIFY_SOCKET", &format!("@{name}"))]);
    assert_eq!(manager.news(), "READY=1\nSTATUS=serving");
}

#[test]
fn signs_of_life_sent_while_serving() {
    let folder = tempfile::tempdir().expect("a folder");
    let (manager, path) = Manager::at(&folder);
    let mut service = Service::start("", &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "300000")]);
    for _ in 0..5 {
        while manager.next() != "WATCHDOG=1" {}
    }
    // A process that stands still is silent.
    service.node.process.pause().expect("stopped");
    manager.0.set_nonblocking(true).expect("a socket");
    while manager.0.recv(&mut [0; 64]).is_ok() {}
    std::thread::sleep(Duration::from_secs(1));
    assert!(manager.0.recv(&mut [0; 64]).is_err(), "a sign of life of a process that stands still");
    service.node.process.resume().expect("resumed");
}

/// The watchdog of another process, whose environment this one has inherited.
#[test]
fn watchdog_of_other_process_gets_no_sign() {
    let folder = tempfile::tempdir().expect("a folder");
    let (manager, path) = Manager::at(&folder);
    let env = [("NOTIFY_SOCKET", &*path), ("WATCHDOG_USEC", "30000"), ("WATCHDOG_PID", "1")];
    let mut service = Service::start("", &env);
    assert!(service.node.process.terminate(DEADLINE).expect("ended").success());
    let mut messages = vec![manager.next()];
    while !messages.last().is_some_and(|last| last.starts_with("STOPPING=1")) {
        messages.push(manager.next());
    }
    assert!(messages.iter().all(|message| message != "WATCHDOG=1"), "{messages:?}");
}

/// A manager that would never hear of the start gets the error at once, in place of a timeout.
#[test]
fn unusable_socket_refuses_start() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tidegate.toml"), "[source.s]\nurl = \"sqlite:s.db\"\n")
        .expect("written");
    for name in ["/missing/notify", "vsock:2:1"] {
        let env = [("NOTIFY_SOCKET", name)];
        let mut process = serve(&folder.path().join("tidegate.toml"), &env);
        let status = process.wait(DEADLINE).expect("ended");
        let output = process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{output}");
        assert!(output.contains(name) && output.contains("NOTIFY_SOCKET"), "{output}");
    }
}

/// A manager that reads nothing does not hold up the node.
#[test]
fn full_socket_holds_up_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (manager, path) = Manager::at(&folder);
    let mut service = Service::start("", &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "30000")]);
    // More signs of life than the queue of a socket takes.
    std::thread::sleep(Duration::from_secs(3));
    let begun = now();
    assert!(service.node.process.terminate(DEADLINE).expect("ended").success());
    assert!(begun.elapsed() < DEADLINE);
    drop(manager);
}
