//! Listeners and background tasks of a node, from start to a clean end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use control::Admin;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::audit::Insight;
use super::follow::Follower;
use super::orders::ThroughTheLog;
use super::sample::sample;
use super::{Node, NodeError, connect};
use crate::config::Listen;

/// How long requests under way have to finish when the process is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// The bound listeners, and where they ended up.
pub(crate) struct Listening {
    gateway: Option<TcpListener>,
    data: TcpListener,
    admin: TcpListener,
    /// The addresses, with the ports that were given where 0 was asked for.
    pub(crate) at: Listen,
}

impl Listening {
    /// Binds all addresses before anything is served, so that a taken port is noticed at once.
    ///
    /// # Errors
    /// [`NodeError::Listen`].
    pub(crate) async fn bind(listen: &Listen, with_gateway: bool) -> Result<Self, NodeError> {
        let mut at = *listen;
        let gateway = if with_gateway { Some(bind(&mut at.gateway).await?) } else { None };
        let data = bind(&mut at.data).await?;
        let admin = bind(&mut at.admin).await?;
        Ok(Self { gateway, data, admin, at })
    }

    /// As [`bind`](Self::bind), with another free port in place of one that is taken.
    ///
    /// # Errors
    /// [`NodeError::Listen`]: not even a free port can be bound.
    pub(crate) async fn bind_or_move(listen: &Listen) -> Result<Self, NodeError> {
        let mut at = *listen;
        let gateway = Some(bind_or_any(&mut at.gateway).await?);
        let data = bind_or_any(&mut at.data).await?;
        let admin = bind_or_any(&mut at.admin).await?;
        Ok(Self { gateway, data, admin, at })
    }
}

/// Binds, and puts in the port that was given where 0 was asked for.
async fn bind(address: &mut SocketAddr) -> Result<TcpListener, NodeError> {
    let wanted = *address;
    let failed = |source| NodeError::Listen { address: wanted, source };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    *address = listener.local_addr().map_err(failed)?;
    Ok(listener)
}

async fn bind_or_any(address: &mut SocketAddr) -> Result<TcpListener, NodeError> {
    match bind(address).await {
        Err(NodeError::Listen { .. }) => {
            address.set_port(0);
            bind(address).await
        }
        bound => bound,
    }
}

impl Node {
    /// Whether there is an upstream to be a gateway for.
    #[must_use]
    pub(crate) fn has_gateway(&self) -> bool {
        self.gateway.is_some()
    }

    /// Follows and serves until `stop` turns true; then lets requests under way finish.
    ///
    /// # Errors
    /// When the feed needs a person, or a listener breaks.
    pub(crate) async fn run(
        self: Arc<Self>,
        listening: Listening,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), NodeError> {
        let mut background = JoinSet::new();
        let engine = self.engine.clone();
        background.spawn(async move {
            engine.follow(std::future::pending()).await;
            Ok(())
        });
        background.spawn({
            let (engine, source) = (self.engine.clone(), Arc::clone(&self.source));
            let (clock, health) = (Arc::clone(&self.clock), Arc::clone(&self.health));
            let every = self.sample_every;
            async move {
                sample(engine, source, clock, health, every).await;
                Ok(())
            }
        });
        for standby in &self.standbys.all {
            let (standbys, standby) = (self.standbys.clone(), Arc::clone(standby));
            let (engine, every) = (self.engine.clone(), self.sample_every);
            background.spawn(async move {
                standbys.watch(standby, engine, every).await;
                Ok(())
            });
        }
        background.spawn({
            let audit = Arc::clone(&self.audit);
            async move {
                audit.run().await;
                Ok(())
            }
        });
        for at in 0..self.filtered.len() {
            let node = Arc::clone(&self);
            background.spawn(async move {
                let connect::Filtered { contract, policy, origin } = &node.filtered[at];
                node.engine.keep_filter(contract, policy, origin).await;
                std::future::pending().await
            });
        }
        let feed = self.feed.lock().take();
        if let Some((feed, renewer)) = feed {
            let follower = Follower::new(feed, renewer, &self, self.longest_ttl);
            let (name, url) = self.followed.clone();
            background.spawn(async move {
                let error = follower.run().await;
                Err(NodeError::Feed { name, url, error })
            });
        }
        let mut serving = self.serve(listening, &stop);
        let ended = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => Ok(()),
            ended = background.join_next() => flatten(ended),
            ended = serving.join_next() => flatten(ended),
        };
        self.health.stopping();
        let drained = async { while serving.join_next().await.is_some() {} };
        if ended.is_ok() && tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("some requests were still under way after {DRAIN:?}");
        }
        ended
    }

    fn serve(
        self: &Arc<Self>,
        listening: Listening,
        stop: &watch::Receiver<bool>,
    ) -> JoinSet<Result<(), NodeError>> {
        let mut serving = JoinSet::new();
        let stopped = |mut stop: watch::Receiver<bool>| async move {
            // An error means that the sender is gone, which is a stop as well.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        if let (Some(gateway), Some(listener)) = (self.gateway.clone(), listening.gateway) {
            let stop = stopped(stop.clone());
            serving.spawn(async move {
                gateway.serve(listener, stop).await;
                Ok(())
            });
        }
        let (data, data_stop) = (self.data.clone(), stopped(stop.clone()));
        serving.spawn(async move {
            data.serve(listening.data, data_stop).await;
            Ok(())
        });
        let (engine, audit) = (self.engine.clone(), Arc::clone(&self.audit));
        let contracts = Arc::clone(&self.contracts);
        let log = Arc::new(ThroughTheLog {
            engine: self.engine.clone(),
            source: Arc::clone(&self.source),
            clock: Arc::clone(&self.clock),
            contracts: Arc::clone(&self.contracts),
        });
        let posted = self.posted.clone();
        let admin = Admin {
            health: Arc::clone(&self.health),
            journal: Arc::clone(&self.journal),
            registry: std::mem::take(&mut *self.registry.lock()),
            events: self.posted.clone().map(|posted| posted.into_admin(&self.clock)),
            status: Box::new(move || Self::status(&engine, &contracts, posted.as_ref())),
            audit: Box::new(move || audit.report()),
            inspect: Arc::new(Insight { data: self.data.clone(), engine: self.engine.clone() }),
            orders: Arc::clone(&log) as _,
            tokens: log,
        };
        let stop = stopped(stop.clone());
        serving.spawn(async move {
            control::serve(listening.admin, admin, stop).await.map_err(NodeError::Serve)
        });
        self.health.required("process", true, "serving");
        serving
    }
}

fn flatten(
    ended: Option<Result<Result<(), NodeError>, tokio::task::JoinError>>,
) -> Result<(), NodeError> {
    match ended {
        Some(Ok(result)) => result,
        Some(Err(err)) => Err(NodeError::Serve(std::io::Error::other(err))),
        None => Ok(()),
    }
}
