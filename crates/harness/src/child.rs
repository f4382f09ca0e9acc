//! Child processes that can't outlive the test.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::{output::Output, programs, wait};

/// How long the pipes of an ended process are read for its last lines.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A user other than ours, for servers that refuse to run as root.
#[derive(Clone, Debug)]
pub(crate) struct User(pub(crate) String);

/// Returns a command that runs `program`, as `user` if one is given. The kernel kills the process
/// when its parent dies.
pub(crate) fn command(program: &std::path::Path, user: Option<&User>) -> Result<Command> {
    let setpriv = match programs::find("setpriv", &[]) {
        Some(setpriv) => setpriv,
        None if user.is_none() => return Ok(Command::new(program)),
        None => return Err(programs::missing("setpriv", "util-linux")),
    };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL"]);
    if let Some(User(name)) = user {
        command.arg(format!("--reuid={name}"));
        command.arg(format!("--regid={name}"));
        command.arg("--init-groups");
    }
    command.arg("--").arg(program);
    Ok(command)
}

/// A running child in a process group of its own; killed with its group on drop.
pub(crate) struct Daemon {
    name: String,
    child: Child,
    pub(crate) output: Output,
}

impl Daemon {
    /// Starts `command` and collects its lines in `output`.
    pub(crate) fn spawn(name: &str, mut command: Command, output: Output) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0);
        let mut child = spawn_from_lasting_thread(command)
            .with_context(|| format!("harness: can't start {name}"))?;
        if let Some(stdout) = child.stdout.take() {
            output.collect(stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            output.collect(stderr);
        }
        Ok(Self { name: name.to_owned(), child, output })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Returns the exit status, or `None` while the process runs.
    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until `probe` returns true, for at most `limit`.
    ///
    /// # Errors
    /// When the process ends before, or `limit` passes; with its last lines.
    pub(crate) fn wait_until_ready(
        &mut self,
        limit: Duration,
        mut probe: impl FnMut() -> bool,
    ) -> Result<()> {
        let ready = wait::until("readiness", limit, || match self.exited()? {
            Some(_) => bail!("not ready"),
            None => Ok(probe().then_some(())),
        });
        ready.map_err(|err| self.failure(&err.to_string()))
    }

    /// Signals the process alone. No error when it is already gone.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.exited()?.is_none() {
            kill_process(self.pid(), signal)?;
        }
        Ok(())
    }

    /// Signals the process and the members of its group.
    pub(crate) fn signal_group(&mut self, signal: Signal) -> Result<()> {
        if self.exited()?.is_none() {
            kill_process_group(self.pid(), signal)?;
        }
        Ok(())
    }

    /// Stops the process and the members of its group, and waits until none of its threads runs any more.
    ///
    /// One thread has to be scheduled before it stops the others: on a busy machine they go on for a while
    /// after the signal was sent.
    pub(crate) fn pause_group(&mut self) -> Result<()> {
        self.signal_group(Signal::STOP)?;
        let tasks = format!("/proc/{}/task", self.id());
        let event = format!("the stop of {}", self.name);
        wait::until(&event, STOP_TIMEOUT, || {
            let tasks = std::fs::read_dir(&tasks)?.flatten();
            let mut stats =
                tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
            // "pid (name) state …"; the name may hold any character, also parentheses.
            let stopped = |stat: String| {
                stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
            };
            Ok(stats.all(stopped).then_some(()))
        })
    }

    /// Waits for its end and its last lines, for at most `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let event = format!("the end of {}", self.name);
        let output = self.output.clone();
        let status = wait::until(&event, limit, || self.exited())
            .with_context(|| format!("its last lines:\n{}", output.tail()))?;
        self.output.drain(DRAIN_TIMEOUT);
        Ok(status)
    }

    /// Kills it with its group and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.signal_group(Signal::KILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// Returns an error with the problem, the state of the process and its last lines.
    pub(crate) fn failure(&mut self, problem: &str) -> anyhow::Error {
        let state = match self.exited() {
            Ok(Some(status)) => format!("it ended with {status}"),
            Ok(None) => "it still runs".to_owned(),
            Err(err) => err.to_string(),
        };
        let (name, lines) = (&self.name, self.output.tail());
        anyhow!("harness: {name}: {problem}; {state}; its last lines:\n{lines}")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error can't be reported from here; most often the process is already gone.
        let _ = self.kill();
    }
}

type SpawnRequest = (Command, SyncSender<io::Result<Child>>);

/// The kernel's "parent" is the *thread* that forked: a server started from a test's thread or
/// from one of tokio's blocking threads would be killed when that thread ends. This one lasts as
/// long as the process.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static REQUESTS: OnceLock<SyncSender<SpawnRequest>> = OnceLock::new();
    let requests = REQUESTS.get_or_init(|| {
        let (requests, inbox) = sync_channel::<SpawnRequest>(16);
        std::thread::Builder::new()
            .name("harness-spawner".into())
            .spawn(move || {
                for (mut command, reply) in inbox {
                    // The caller waits for the reply, so the receiver exists.
                    let _ = reply.send(command.spawn());
                }
            })
            .expect("a thread can be started");
        requests
    });
    let (reply, result) = sync_channel(1);
    requests.send((command, reply)).expect("the spawner thread never ends");
    result.recv().expect("the spawner thread replies to every request")
}
