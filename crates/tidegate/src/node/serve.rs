//! Runs the loops and listeners of a node, from start to a clean end.

use std::sync::Arc;
use std::time::Duration;

use ::node::{Health, Invalidators, TokenIssuers};
use control::{Admin, BodySlots, PageAuditSource};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::audit::NodeInspector;
use super::build::Node;
use super::error::NodeError;
use super::installation::Installation;
use super::listen::{Acceptors, Listening};

/// The time that requests in flight have to finish when the process stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

impl Node {
    /// Follows and serves until `stop` turns true; then finishes requests in flight.
    ///
    /// # Errors
    /// The feed needs an operator, or a listener failed.
    pub(crate) async fn run(
        self: Arc<Self>,
        listening: Listening,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), NodeError> {
        let mut background = self.spawn_loops();
        let mut serving = self.spawn_listeners(listening, &stop);
        let ended = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => Ok(()),
            ended = background.join_next() => flatten(ended),
            ended = serving.join_next() => flatten(ended),
        };
        self.health.stopping();
        let drained = async { while serving.join_next().await.is_some() {} };
        let gateway = self.gateway.as_ref().map(edge::Gateway::drain_timeout);
        let limit = gateway.map_or(DRAIN_TIMEOUT, |limit| limit.max(DRAIN_TIMEOUT));
        if ended.is_ok() && tokio::time::timeout(limit, drained).await.is_err() {
            tracing::warn!("some requests were still in flight after {limit:?}");
        }
        ended
    }

    /// Takes the process out of traffic while its listeners still serve.
    pub(crate) fn announce_stop(&self) {
        self.health.stopping();
    }

    fn spawn_loops(self: &Arc<Self>) -> JoinSet<Result<(), NodeError>> {
        let mut background = JoinSet::new();
        for source in &self.sources {
            source.spawn_loops(&self.clock, self.longest_ttl, &mut background);
        }
        for certificates in self.tls.loops(&self.clock, &self.health) {
            background.spawn(async move {
                certificates.await;
                Ok(())
            });
        }
        if let Some(tokens) = self.tokens.clone() {
            let (clock, health) = (Arc::clone(&self.clock), Arc::clone(&self.health));
            background.spawn(async move {
                tokens.run(clock, |ok, detail| health.optional("access", ok, detail)).await;
                Ok(())
            });
        }
        if let Some(pages) = self.page_audit.clone() {
            background.spawn(async move {
                pages.run().await;
                Ok(())
            });
        }
        if let Some((sale, jobs)) = self.sale.clone() {
            background.spawn(async move {
                jobs.run_upkeep().await;
                Ok(())
            });
            let health = Arc::clone(&self.health);
            background.spawn(async move {
                sale.run_sweeper(|swept| report_ledger(&health, swept)).await;
                Ok(())
            });
        }
        background
    }

    fn spawn_listeners(
        self: &Arc<Self>,
        listening: Listening,
        stop: &watch::Receiver<bool>,
    ) -> JoinSet<Result<(), NodeError>> {
        let mut serving = JoinSet::new();
        let Acceptors { gateway, data, admin, sale } =
            listening.acceptors(self.listener_metrics.clone(), &self.tls.security());
        let stopped = |mut stop: watch::Receiver<bool>| async move {
            // An error means that the sender is gone, which is a stop as well.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        if let (Some(server), Some(acceptor)) = (self.gateway.clone(), gateway) {
            let stop = stopped(stop.clone());
            serving.spawn(async move {
                server.serve(acceptor, stop).await;
                Ok(())
            });
        }
        let (api, data_stop) = (self.data.clone(), stopped(stop.clone()));
        serving.spawn(async move {
            api.serve(data, data_stop).await;
            Ok(())
        });
        if let (Some(ledger), Some(acceptor)) = (self.sale.clone(), sale) {
            let (jobs, jobs_stop) = (ledger.1.clone(), stopped(stop.clone()));
            serving.spawn(async move {
                jobs.run(jobs_stop).await;
                Ok(())
            });
            let stop = stopped(stop.clone());
            let (gate, audit_log) = (self.gate.clone(), self.audit_log.clone());
            serving.spawn(async move {
                sale::http::serve(acceptor, gate, ledger, audit_log, stop).await;
                Ok(())
            });
        }
        let (api, admin_stop) = (self.admin(), stopped(stop.clone()));
        serving.spawn(async move {
            control::serve(admin, api, admin_stop).await;
            Ok(())
        });
        self.health.required("process", true, "serving");
        serving
    }

    fn admin(&self) -> Admin {
        let (sources, clock, chance) = (&self.sources, &self.clock, &self.chance);
        let invalidators = sources.iter().map(|source| source.invalidator(clock, chance));
        Admin {
            health: Arc::clone(&self.health),
            sources: sources.iter().map(|source| source.admin(clock)).collect(),
            registry: std::mem::take(&mut *self.registry.lock()),
            contracts: Arc::clone(&self.contracts),
            page_audit: self
                .page_audit
                .clone()
                .map(|pages| -> PageAuditSource { Arc::new(move || pages.report()) }),
            inspector: Arc::new(NodeInspector { data: self.data.clone() }),
            invalidators: Invalidators::new(invalidators.collect(), Arc::clone(&self.contracts)),
            gate: self.gate.clone(),
            audit_log: self.audit_log.clone(),
            bodies: BodySlots::default(),
            tokens: TokenIssuers::new(sources.iter().map(Installation::tokens).collect()),
        }
    }
}

/// The cache of this node works without the ledger.
fn report_ledger(health: &Health, swept: Result<(), sale::ledger::LedgerError>) {
    match swept {
        Ok(()) => health.optional("sale", true, "the ledger answers"),
        Err(err) => health.optional("sale", false, err.to_string()),
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
