//! PostgreSQL's processes. Its backends lead process groups of their own, so a signal to the
//! server's group does not reach them.

use std::{fs, time::Duration};

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};

use crate::{child::Daemon, wait};

const QUIT_TIMEOUT: Duration = Duration::from_secs(5);
const KILL_TIMEOUT: Duration = Duration::from_secs(30);

/// Freezes the server with all its processes.
pub(super) fn pause(daemon: &mut Daemon) -> Result<()> {
    // The parent first, so that it starts no more children.
    daemon.signal(Signal::STOP)?;
    signal_all(&children(daemon.id())?, Signal::STOP);
    Ok(())
}

/// Ends [`pause`].
pub(super) fn resume(daemon: &mut Daemon) -> Result<()> {
    signal_all(&children(daemon.id())?, Signal::CONT);
    daemon.signal(Signal::CONT)
}

/// "Immediate" shutdown: saves nothing, but gives back shared memory.
pub(super) fn quit(daemon: &mut Daemon) -> Result<()> {
    let children = children(daemon.id())?;
    daemon.signal(Signal::QUIT)?;
    daemon.signal(Signal::CONT)?;
    signal_all(&children, Signal::CONT);
    match daemon.wait(QUIT_TIMEOUT) {
        Ok(_) => Ok(()),
        Err(_) => kill(daemon),
    }
}

/// Kills the server with all its processes. Children left behind would hold the shared memory for a
/// moment and make the next start fail.
pub(super) fn kill(daemon: &mut Daemon) -> Result<()> {
    daemon.signal(Signal::STOP)?;
    let children = children(daemon.id())?;
    signal_all(&children, Signal::KILL);
    daemon.kill()?;
    wait::until("the end of PostgreSQL's processes", KILL_TIMEOUT, || {
        Ok(children.iter().all(|pid| !is_alive(*pid)).then_some(()))
    })
}

/// An orphan that is not reaped yet holds no resources any more.
fn is_alive(pid: Pid) -> bool {
    Stat::of(pid).is_some_and(|stat| stat.state != "Z" && stat.state != "X")
}

fn signal_all(pids: &[Pid], signal: Signal) {
    for pid in pids {
        // A process that has ended by itself is no error.
        let _ = kill_process(*pid, signal);
    }
}

fn children(parent: u32) -> Result<Vec<Pid>> {
    let all = fs::read_dir("/proc")?.flatten();
    let pids = all.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    // Processes may end meanwhile; these have no status.
    Ok(pids.filter(|pid| Stat::of(*pid).is_some_and(|stat| stat.parent == parent)).collect())
}

/// Fields of `/proc/…/stat`.
struct Stat {
    state: String,
    parent: u32,
}

impl Stat {
    fn of(pid: Pid) -> Option<Self> {
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // "pid (name) state parent …"; the name may hold any character, also parentheses.
        let (_, after_name) = line.rsplit_once(')')?;
        let mut fields = after_name.split_whitespace();
        Some(Self { state: fields.next()?.to_owned(), parent: fields.next()?.parse().ok()? })
    }
}
