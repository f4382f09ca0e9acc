//! Messages to the service manager that has started the process: systemd's `sd_notify(3)`, a datagram per message.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

/// The variable with the manager's socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// The variable with the time, in microseconds, after which a silent process is killed.
const WATCHDOG: &str = "WATCHDOG_USEC";

/// The variable with the process that the watchdog watches.
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";

/// The time that an announced stop may take beyond its limit.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// The most characters of a state for people. systemd ignores a message of more than 4096 bytes as a whole.
const STATUS_CHARS_MAX: usize = 800;

/// The shortest interval of signs of life.
const SIGN_OF_LIFE_MIN: Duration = Duration::from_millis(10);

/// The manager's socket can't be used, so the manager would wait in vain for a start.
#[derive(Debug, Error)]
#[error("the service manager's socket {name} (NOTIFY_SOCKET) can't be used: {source}")]
pub(crate) struct UnusableSocket {
    name: String,
    source: io::Error,
}

/// The service manager, if one waits for messages. Clones send to the same one.
#[derive(Clone, Debug)]
pub(crate) struct ServiceManager {
    socket: Option<Arc<UnixDatagram>>,
    sign_of_life: Option<Duration>,
}

impl ServiceManager {
    /// Returns a manager that gets no messages.
    pub(crate) fn none() -> Self {
        Self { socket: None, sign_of_life: None }
    }

    /// Connects to the manager that the environment names.
    ///
    /// # Errors
    /// [`UnusableSocket`]
    pub(crate) fn of_environment() -> Result<Self, UnusableSocket> {
        let Some(name) = env::var_os(SOCKET).filter(|name| !name.is_empty()) else {
            return Ok(Self::none());
        };
        match connect(&name) {
            Ok(socket) => Ok(Self { socket: Some(Arc::new(socket)), sign_of_life: sign_of_life() }),
            Err(source) => {
                Err(UnusableSocket { name: name.to_string_lossy().into_owned(), source })
            }
        }
    }

    /// Reports that the process serves, after its start or a reload; `status` is for people.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// Reports the begin of a reload, which [`ready`](Self::ready) ends.
    pub(crate) fn reloading(&self) {
        // The manager compares this time with its own reading of the same clock. It decides nothing here.
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// Reports that the process takes at most `limit` for the next step of its stop.
    pub(crate) fn stopping(&self, limit: Duration) {
        let micros = limit.saturating_add(STOP_GRACE).as_micros();
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}\nSTATUS=stopping"));
    }

    /// Sends signs of life as long as the runtime runs tasks; never ends.
    pub(crate) async fn signs_of_life(self) {
        let Some(interval) = self.sign_of_life else { return std::future::pending().await };
        loop {
            self.send("WATCHDOG=1");
            tokio::time::sleep(interval).await;
        }
    }

    /// Sends a message, without waiting: a manager that does not read must not hold up answers.
    fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            let message = message.lines().next().unwrap_or_default();
            tracing::warn!(%error, message, "the service manager does not get a message");
        }
    }
}

/// Connects to a socket, by its path, or by `@` and its name in the abstract namespace.
fn connect(name: &OsString) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        [b'/', ..] => socket.connect(name)?,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no `/` or `@` first")),
    }
    Ok(socket)
}

/// Returns the interval of signs of life: a third of the manager's time; `None`: it expects none of this process.
fn sign_of_life() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let process = number(WATCHDOG_PROCESS);
    if process.is_some_and(|process| process != u64::from(std::process::id())) {
        return None;
    }
    let time = number(WATCHDOG).filter(|micros| *micros > 0)?;
    Some((Duration::from_micros(time) / 3).max(SIGN_OF_LIFE_MIN))
}

/// Returns the beginning of a text without line ends, which would begin further fields.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ").chars().take(STATUS_CHARS_MAX).collect()
}
