//! The line to the primary, and the task that keeps it.
//!
//! One connection carries all calls. Whoever finds it broken says so and fails at once; the keeper
//! makes another. With sentinels it also asks every second whether the primary is still the same: one
//! that was cut off from them, or frozen and woken, goes on answering as if it were.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::super::TierError;
use super::metrics::RedisMetrics;
use super::names::Names;
use super::place;
use super::reply::failed;
use super::scripts::Scripts;
use super::sentinel::Sentinels;
use super::{preflight, rights};

/// What connecting and setting up may take.
pub(super) const CONNECT: Duration = Duration::from_secs(1);
/// How often the sentinels are asked whether the primary is still the same.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between tries to connect.
const BACKOFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(250)];
/// Commands waiting to be written to the connection.
const PIPELINE: usize = 1_024;

/// A connection to the primary.
#[derive(Clone)]
pub(super) struct Up {
    /// Counts connections.
    number: u64,
    /// Where the primary is.
    pub(super) info: Arc<ConnectionInfo>,
    pub(super) connection: MultiplexedConnection,
}

#[derive(Clone)]
enum State {
    Connecting,
    Up(Up),
    /// The last try failed; the next is on its way.
    Down(Arc<str>),
}

/// A handle on the line; the keeper ends with the last one.
#[derive(Clone)]
pub(super) struct Line {
    state: watch::Receiver<State>,
    broken: mpsc::Sender<u64>,
}

impl Line {
    /// Connects, checks the server and begins to keep the line. `limit`: how long all of it may take.
    pub(super) async fn connect(dial: Dial, limit: Duration) -> Result<Self, TierError> {
        let limit = CONNECT + limit;
        let mut keeper = Keeper { dial, number: 0 };
        let first =
            timeout(limit, keeper.dial()).await.map_err(|_| TierError::Timeout(limit))??;
        Ok(Self::kept_by(keeper, Some(first)))
    }

    /// Begins to connect, and to keep the line.
    pub(super) fn begin(dial: Dial) -> Self {
        Self::kept_by(Keeper { dial, number: 0 }, None)
    }

    fn kept_by(keeper: Keeper, first: Option<Up>) -> Self {
        let (sender, state) = watch::channel(first.clone().map_or(State::Connecting, State::Up));
        let (broken, reports) = mpsc::channel(1);
        tokio::spawn(async move {
            let kept = sender.clone();
            tokio::select! {
                () = kept.closed() => {}
                () = keeper.keep(first, sender, reports) => {}
            }
        });
        Self { state, broken }
    }

    /// The connection, or why there is none. Waits only where one is being made and has not failed.
    pub(super) async fn up(&self) -> Result<Up, TierError> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                State::Up(up) => return Ok(up.clone()),
                State::Down(why) => return Err(TierError::Unavailable(why.to_string())),
                State::Connecting => {}
            }
            if state.changed().await.is_err() {
                return Err(TierError::Unavailable("its keeper is gone".to_owned()));
            }
        }
    }

    /// A call over `up` failed: whether that speaks against the connection is decided here.
    pub(super) fn report(&self, up: &Up, err: &RedisError) {
        let server = matches!(
            err.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        );
        if server || err.is_unrecoverable_error() || err.is_io_error() && !err.is_timeout() {
            // Full: the keeper knows already.
            let _ = self.broken.try_send(up.number);
        }
    }

    /// Waits until the primary is at another address than `up` has it.
    pub(super) async fn moved(&self, up: &Up) {
        let elsewhere = |state: &State| match state {
            State::Up(now) => now.info.addr() != up.info.addr(),
            State::Connecting | State::Down(_) => false,
        };
        // Without a keeper there is nobody to wait for.
        if self.state.clone().wait_for(elsewhere).await.is_err() {
            std::future::pending().await
        }
    }
}

/// How the primary is reached.
pub(super) struct Dial {
    pub(super) way: Way,
    pub(super) names: Names,
    pub(super) scripts: Arc<Scripts>,
    pub(super) metrics: RedisMetrics,
}

/// Who says where it is.
pub(super) enum Way {
    Fixed(ConnectionInfo),
    Asked {
        sentinels: Sentinels,
        primary: ConnectionInfo,
    },
    /// A shard's primary, as the cluster's keeper knows it.
    Shard(ConnectionInfo),
}

impl Way {
    async fn find(&mut self) -> Result<ConnectionInfo, TierError> {
        match self {
            Self::Fixed(info) | Self::Shard(info) => Ok(info.clone()),
            Self::Asked { sentinels, primary } => {
                let (host, port) = sentinels.primary().await?;
                Ok(place::at(primary, host, port))
            }
        }
    }

    fn is_asked(&self) -> bool {
        matches!(self, Self::Asked { .. })
    }
}

struct Keeper {
    dial: Dial,
    number: u64,
}

impl Keeper {
    async fn keep(
        mut self,
        mut up: Option<Up>,
        state: watch::Sender<State>,
        mut reports: mpsc::Receiver<u64>,
    ) {
        loop {
            if let Some(up) = &up {
                self.holds(up, &mut reports).await;
                state.send_replace(State::Connecting);
            }
            let (mut delay, mut said) = (BACKOFF[0], String::new());
            let again = loop {
                let limit = CONNECT * 2;
                let tried = timeout(limit, self.dial()).await;
                let why = match tried.unwrap_or(Err(TierError::Timeout(limit))) {
                    Ok(up) => break up,
                    Err(TierError::Unavailable(why) | TierError::Unsuitable(why)) => why,
                    Err(err) => err.to_string(),
                };
                if why != said {
                    tracing::warn!(error = %why, "the shared tier is away");
                }
                state.send_replace(State::Down(why.as_str().into()));
                said = why;
                sleep(delay).await;
                delay = (delay * 2).min(BACKOFF[1]);
            };
            if let Some(up) = up.filter(|up| again.info.addr() != up.info.addr()) {
                self.dial.metrics.primary_changes.inc();
                tracing::warn!(
                    from = %up.info.addr(), to = %again.info.addr(),
                    "the shared tier has another primary"
                );
            }
            state.send_replace(State::Up(again.clone()));
            up = Some(again);
        }
    }

    /// Waits for the end of this connection.
    async fn holds(&mut self, up: &Up, reports: &mut mpsc::Receiver<u64>) {
        loop {
            tokio::select! {
                report = reports.recv() => match report {
                    Some(number) if number == up.number => return,
                    // Of a connection before this one.
                    Some(_) => {}
                    None => return std::future::pending().await,
                },
                () = sleep(LOOK_EVERY), if self.dial.way.is_asked() => {
                    // Sentinels that don't answer say nothing against the primary.
                    if let Ok(info) = self.dial.way.find().await
                        && info.addr() != up.info.addr()
                    {
                        return;
                    }
                }
            }
        }
    }

    async fn dial(&mut self) -> Result<Up, TierError> {
        // Who was named may not be the primary yet, or no longer.
        let named = !matches!(self.dial.way, Way::Fixed(_));
        let shard = matches!(self.dial.way, Way::Shard(_));
        let info = self.dial.way.find().await?;
        // A refused connection is an answer: no retries here.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE);
        let in_time = |err: RedisError| failed(&err, CONNECT);
        let client = Client::open(info.clone()).map_err(in_time)?;
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await.map_err(in_time)?;
        let user = info.redis_settings().username().unwrap_or("default");
        let rights = rights::Rights { user, names: &self.dial.names };
        let told = redis::cmd("INFO").query_async::<String>(&mut connection).await;
        let told = told.map_err(|err| rights.failed(&err))?;
        preflight::check(&told, shard).map_err(|err| match err {
            preflight::Unfit::Replica(why) if named => TierError::Unavailable(why),
            preflight::Unfit::Replica(why) | preflight::Unfit::Server(why) => {
                TierError::Unsuitable(why)
            }
        })?;
        rights.rehearse(&mut connection, &self.dial.scripts).await?;
        for script in self.dial.scripts.all() {
            script.load_async(&mut connection).await.map_err(in_time)?;
        }
        self.number += 1;
        Ok(Up { number: self.number, info: Arc::new(info), connection })
    }
}
