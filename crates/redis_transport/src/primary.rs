//! The connection to a primary, and the task that keeps it.
//!
//! One connection carries all calls. A caller that finds it broken reports that and fails at once; the
//! task connects again. With sentinels it also asks every second whether the primary has changed: a
//! primary that was cut off from them, or frozen and resumed, goes on answering as if it were one.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, ServerErrorKind};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::acl::AclUser;
use crate::error::TransportError;
use crate::metrics::TransportMetrics;
use crate::preflight;
use crate::redirect::server_error;
use crate::script_set::ScriptSet;
use crate::sentinel::Sentinels;
use crate::server::ServerInfo;
use crate::timeout::{CONNECT_TIMEOUT, reply_within};

/// How often the sentinels are asked whether the primary has changed.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(1);
/// How often the eviction policy is checked: it can be changed while Redis runs.
const POLICY_INTERVAL: Duration = Duration::from_secs(2);
/// The pause between two connection attempts, at first and at most.
const BACKOFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(250)];
/// Commands that wait to be written to the connection.
const PIPELINE: usize = 1_024;

/// An open connection to a primary.
#[derive(Clone)]
pub struct Connected {
    /// Counts connections.
    number: u64,
    info: Arc<ServerInfo>,
    pub(crate) connection: MultiplexedConnection,
}

impl Connected {
    /// Returns the primary's `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.info.addr().to_string()
    }

    /// Returns the connection, which all callers share: a command that blocks would delay them.
    #[must_use]
    pub fn shared(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Opens another connection to the primary, for commands that block. It has no reply timeout.
    ///
    /// # Errors
    /// The primary can't be reached within `limit`.
    pub async fn open_dedicated(
        &self,
        limit: Duration,
    ) -> Result<MultiplexedConnection, TransportError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(None);
        reply_within(limit, self.info.open(&config)).await
    }

    fn is_at(&self, other: &Self) -> bool {
        self.info.addr() == other.info.addr()
    }
}

#[derive(Clone)]
enum State {
    Connecting,
    Connected(Connected),
    /// The last attempt failed; the next one follows.
    Failed(Arc<str>),
}

/// A handle on the connection. The task ends with the last handle.
#[derive(Clone)]
pub(crate) struct PrimaryConnection {
    state: watch::Receiver<State>,
    broken: mpsc::Sender<u64>,
}

impl PrimaryConnection {
    /// Connects, checks the server and keeps the connection. `limit`: the time limit beside
    /// [`CONNECT_TIMEOUT`].
    pub(crate) async fn connect(
        config: ConnectConfig,
        limit: Duration,
    ) -> Result<Self, TransportError> {
        let limit = CONNECT_TIMEOUT + limit;
        let mut keeper = Keeper::new(config);
        let first = timeout(limit, keeper.connect())
            .await
            .map_err(|_| TransportError::Timeout(limit))??;
        Ok(Self::spawn(keeper, Some(first)))
    }

    /// Starts the task, which connects in the background.
    pub(crate) fn start(config: ConnectConfig) -> Self {
        Self::spawn(Keeper::new(config), None)
    }

    fn spawn(keeper: Keeper, first: Option<Connected>) -> Self {
        let state = first.clone().map_or(State::Connecting, State::Connected);
        let (sender, state) = watch::channel(state);
        let (broken, reports) = mpsc::channel(1);
        tokio::spawn(async move {
            let handles = sender.clone();
            tokio::select! {
                () = handles.closed() => {}
                () = keeper.run(first, sender, reports) => {}
            }
        });
        Self { state, broken }
    }

    /// Returns the connection. Waits only while an attempt is under way and the one before it did not fail.
    ///
    /// # Errors
    /// The reason why there is no connection.
    pub(crate) async fn connected(&self) -> Result<Connected, TransportError> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                State::Connected(connected) => return Ok(connected.clone()),
                State::Failed(why) => return Err(TransportError::Unavailable(why.to_string())),
                State::Connecting => {}
            }
            if state.changed().await.is_err() {
                return Err(TransportError::Unavailable(
                    "its connection task has ended".to_owned(),
                ));
            }
        }
    }

    /// Reports the failure of a call on `connected`. Errors that do not concern the connection are ignored.
    pub(crate) fn report(&self, connected: &Connected, err: &RedisError) {
        let not_primary = matches!(
            server_error(err),
            Some(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        );
        let broken = err.is_unrecoverable_error() || err.is_io_error() && !err.is_timeout();
        if not_primary || broken {
            // A full channel means that the task has a report already.
            let _ = self.broken.try_send(connected.number);
        }
    }

    /// Waits until the primary is at another address than `connected`.
    pub(crate) async fn moved(&self, connected: &Connected) {
        let elsewhere = |state: &State| match state {
            State::Connected(now) => !now.is_at(connected),
            State::Connecting | State::Failed(_) => false,
        };
        // Without the task no change comes.
        if self.state.clone().wait_for(elsewhere).await.is_err() {
            std::future::pending().await
        }
    }
}

/// How to connect to a primary.
pub(crate) struct ConnectConfig {
    pub(crate) discovery: Discovery,
    /// For logs: the service that Redis provides.
    pub(crate) service: &'static str,
    pub(crate) key_pattern: Arc<str>,
    pub(crate) probe_key: String,
    pub(crate) scripts: Arc<dyn ScriptSet>,
    pub(crate) metrics: TransportMetrics,
}

/// How the address of a primary is found.
pub(crate) enum Discovery {
    Fixed(ServerInfo),
    Sentinels {
        sentinels: Sentinels,
        primary: ServerInfo,
    },
    /// A shard's primary, as the cluster's topology has it.
    Shard(ServerInfo),
}

impl Discovery {
    async fn find(&mut self) -> Result<ServerInfo, TransportError> {
        match self {
            Self::Fixed(info) | Self::Shard(info) => Ok(info.clone()),
            Self::Sentinels { sentinels, primary } => {
                let (host, port) = sentinels.primary().await?;
                Ok(primary.at(host, port))
            }
        }
    }

    fn has_sentinels(&self) -> bool {
        matches!(self, Self::Sentinels { .. })
    }
}

struct Keeper {
    config: ConnectConfig,
    number: u64,
    /// The last warning about the server's settings.
    warned: Option<String>,
}

impl Keeper {
    fn new(config: ConnectConfig) -> Self {
        Self { config, number: 0, warned: None }
    }

    /// Logs a warning about the server's settings, unless it was the last one too.
    fn warn(&mut self, warning: Option<String>) {
        if let Some(text) = warning.as_ref().filter(|_| warning != self.warned) {
            tracing::warn!("{}: {text}", self.config.service);
        }
        self.warned = warning;
    }

    async fn run(
        mut self,
        mut current: Option<Connected>,
        state: watch::Sender<State>,
        mut reports: mpsc::Receiver<u64>,
    ) {
        loop {
            if let Some(connected) = &current {
                self.until_broken(connected, &mut reports).await;
                state.send_replace(State::Connecting);
            }
            let next = self.reconnect(&state).await;
            if let Some(before) = current.filter(|before| !next.is_at(before)) {
                self.config.metrics.primary_changes.inc();
                tracing::warn!(
                    from = %before.info.addr(), to = %next.info.addr(),
                    "{} has another primary", self.config.service
                );
            }
            state.send_replace(State::Connected(next.clone()));
            current = Some(next);
        }
    }

    /// Tries to connect until it succeeds.
    async fn reconnect(&mut self, state: &watch::Sender<State>) -> Connected {
        let (mut delay, mut logged) = (BACKOFF[0], String::new());
        loop {
            let limit = CONNECT_TIMEOUT * 2;
            let tried = timeout(limit, self.connect()).await;
            let why = match tried.unwrap_or(Err(TransportError::Timeout(limit))) {
                Ok(connected) => return connected,
                Err(TransportError::Unavailable(why) | TransportError::Unsuitable(why)) => why,
                Err(err) => err.to_string(),
            };
            if why != logged {
                tracing::warn!(error = %why, "{} is away", self.config.service);
            }
            state.send_replace(State::Failed(why.as_str().into()));
            logged = why;
            sleep(delay).await;
            delay = (delay * 2).min(BACKOFF[1]);
        }
    }

    /// Waits until the connection is broken, or the primary has changed.
    async fn until_broken(&mut self, connected: &Connected, reports: &mut mpsc::Receiver<u64>) {
        let mut next_check = Instant::now() + POLICY_INTERVAL;
        loop {
            tokio::select! {
                report = reports.recv() => match report {
                    Some(number) if number == connected.number => return,
                    // A report on an earlier connection.
                    Some(_) => {}
                    None => return std::future::pending().await,
                },
                () = sleep_until(next_check) => {
                    if !self.has_suitable_policy(connected).await {
                        return;
                    }
                    next_check = Instant::now() + POLICY_INTERVAL;
                }
                () = sleep(DISCOVERY_INTERVAL), if self.config.discovery.has_sentinels() => {
                    // Sentinels that do not answer are no evidence against the primary.
                    if let Ok(info) = self.config.discovery.find().await
                        && info.addr() != connected.info.addr()
                    {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the eviction policy is still one that keeps the keys. A server that does not answer is the matter of
    /// the calls.
    async fn has_suitable_policy(&mut self, connected: &Connected) -> bool {
        let mut connection = connected.shared();
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        let reply = reply_within(CONNECT_TIMEOUT, info.query_async::<String>(&mut connection));
        let Ok(reply) = reply.await else { return true };
        match preflight::check_policy(&reply) {
            Ok(warning) => {
                self.warn(warning);
                true
            }
            Err(_) => false,
        }
    }

    async fn connect(&mut self) -> Result<Connected, TransportError> {
        let ConnectConfig { discovery, key_pattern, probe_key, scripts, .. } = &mut self.config;
        // A discovered server may not be the primary yet, or no longer.
        let is_discovered = !matches!(discovery, Discovery::Fixed(_));
        let is_shard = matches!(discovery, Discovery::Shard(_));
        let info = discovery.find().await?;
        // A refused connection is an answer: no retries here.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE);
        let classify = |err: RedisError| TransportError::from_redis(&err, CONNECT_TIMEOUT);
        let mut connection = info.open(&config).await.map_err(classify)?;
        let user = AclUser { name: info.user(), key_pattern, scripts: &**scripts };
        let reply = redis::cmd("INFO").query_async::<String>(&mut connection).await;
        let reply = reply.map_err(|err| user.explain(&err))?;
        let checked = preflight::check(&reply, is_shard, scripts.min_version());
        let warning = checked.map_err(|err| match err {
            preflight::Rejection::Replica(why) if is_discovered => TransportError::Unavailable(why),
            preflight::Rejection::Replica(why) | preflight::Rejection::Server(why) => {
                TransportError::Unsuitable(why)
            }
        })?;
        user.rehearse(&mut connection, probe_key).await?;
        for script in scripts.scripts() {
            script.load_async(&mut connection).await.map_err(classify)?;
        }
        self.number += 1;
        self.warn(warning);
        Ok(Connected { number: self.number, info: Arc::new(info), connection })
    }
}
