//! Runs the loops and listeners of a node, from start to a clean end, and replaces its configuration meanwhile.

use std::sync::Arc;
use std::time::Duration;

use ::node::{Health, Invalidators, TokenIssuers};
use access::AuditLog;
use coherence::Mono;
use control::{Admin, BodySlots, PageAuditSource, ReloadError, Reloaded};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::audit::NodeInspector;
use super::build::Node;
use super::configuration::{Configuration, node_name};
use super::error::NodeError;
use super::faces::Faces;
use super::installation::Installation;
use super::kept::Kept;
use super::listen::Listening;
use super::live_node::{LiveNode, flatten};
use super::reload::{Done, ReloadHandle, Reloads, Replacement, prepare};
use crate::service_manager::ServiceManager;

/// The time that requests in flight have to finish when the process stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The state of a node for the service manager.
const SERVING: &str = "serving";

/// The pause between two looks whether loads have ended, after the last request.
const LOADS_PAUSE: Duration = Duration::from_millis(5);

/// A process that serves.
struct Server {
    kept: Arc<Kept>,
    live: LiveNode,
    faces: Faces,
    configuration: Arc<Configuration>,
    handle: ReloadHandle,
    service_manager: ServiceManager,
    /// The reload that is under way.
    reloading: Option<Reloading>,
}

struct Reloading {
    prepared: JoinHandle<Result<Replacement, ReloadError>>,
    asked: Vec<Done>,
    begun: Mono,
}

impl Node {
    /// Follows and serves until `stop` turns true; then finishes requests in flight. Requests of `reloads` replace the
    /// configuration meanwhile.
    ///
    /// # Errors
    /// The feed needs an operator, or a listener failed.
    pub(crate) async fn run(
        self: Arc<Self>,
        listening: Listening,
        mut stop: watch::Receiver<bool>,
        mut reloads: Reloads,
        service_manager: ServiceManager,
    ) -> Result<(), NodeError> {
        let kept = Arc::clone(&self.kept);
        let now_ms = kept.clock.wall_ms();
        kept.reload_metrics.serves_since(now_ms);
        let configuration = Arc::new(Configuration::new(&self.settings, now_ms));
        let mut background = self.spawn_process_loops(&configuration, listening.at.admin.port());
        let handle = reloads.handle();
        let faces = Faces::of(&self, self.admin(&handle, &configuration));
        let mut serving = faces.serve(&kept, listening, &stop);
        if let Some((_, jobs)) = self.sale.clone() {
            let mut stop = stop.clone();
            serving.spawn(async move {
                jobs.run(async move { stopped(&mut stop).await }).await;
                Ok(())
            });
        }
        kept.health.required("process", true, "serving");
        let mut live = LiveNode::start(self);
        live.follow();
        service_manager.ready(SERVING);
        let mut server =
            Server { kept, live, faces, configuration, handle, service_manager, reloading: None };
        let ended = loop {
            tokio::select! {
                () = stopped(&mut stop) => break Ok(()),
                ended = server.live.ended() => break ended,
                ended = background.join_next() => break flatten(ended),
                ended = serving.join_next() => break flatten(ended),
                asked = reloads.next(), if server.reloading.is_none() => {
                    server.begin_reload(&reloads, asked);
                }
                prepared = prepared(&mut server.reloading) => server.end_reload(prepared).await,
            }
        };
        server.kept.health.stopping();
        // Callers of reloads get an answer now, so that the drain does not wait for them.
        drop(reloads);
        if let Some(Reloading { prepared, .. }) = server.reloading.take() {
            prepared.abort();
        }
        let node = Arc::clone(&server.live.node);
        let drained = async {
            while serving.join_next().await.is_some() {}
            node.end_of_loads().await;
        };
        let gateway = server.live.node.gateway.as_ref().map(edge::Gateway::drain_timeout);
        let limit = gateway.map_or(DRAIN_TIMEOUT, |limit| limit.max(DRAIN_TIMEOUT));
        server.service_manager.stopping(limit);
        if ended.is_ok() && tokio::time::timeout(limit, drained).await.is_err() {
            tracing::warn!("some requests or loads were still in flight after {limit:?}");
        }
        ended
    }

    /// Returns the state of the process's components, to which a stop is announced while its listeners still serve.
    pub(crate) fn process_health(&self) -> Arc<Health> {
        Arc::clone(&self.kept.health)
    }

    /// Returns the audit log of the process.
    pub(crate) fn audit_log(&self) -> Option<AuditLog> {
        self.kept.audit_log.clone()
    }

    /// Starts the loops that outlive this configuration.
    fn spawn_process_loops(
        &self,
        configuration: &Arc<Configuration>,
        admin_port: u16,
    ) -> JoinSet<Result<(), NodeError>> {
        let (mut background, kept) = (JoinSet::new(), &self.kept);
        for certificates in kept.tls.loops(&kept.clock, &kept.health) {
            background.spawn(async move {
                certificates.await;
                Ok(())
            });
        }
        if let Some(certificates) = &kept.certificates {
            let keeping = certificates.keep(&kept.clock, &kept.health);
            background.spawn(async move {
                keeping.await;
                Ok(())
            });
        }
        if let Some((sale, jobs)) = self.sale.clone() {
            background.spawn(async move {
                jobs.run_upkeep().await;
                Ok(())
            });
            let health = Arc::clone(&kept.health);
            background.spawn(async move {
                sale.run_sweeper(|swept| report_ledger(&health, swept)).await;
                Ok(())
            });
        }
        if let Some(main) = self.sources.first() {
            let (shared, kept) = (Arc::clone(main.engine.shared()), Arc::clone(kept));
            let configuration = Arc::clone(configuration);
            background.spawn(async move {
                configuration.compare(shared, &node_name(admin_port), &kept).await;
                Ok(())
            });
        }
        background
    }

    /// Waits until no load is in progress, so that none leaves a lease behind for which other nodes would wait.
    async fn end_of_loads(&self) {
        while self.sources.iter().any(|source| source.engine.loads_in_progress() > 0) {
            tokio::time::sleep(LOADS_PAUSE).await;
        }
    }

    /// Starts the loops of this configuration, apart from the followers of logs.
    pub(super) fn spawn_loops(&self) -> JoinSet<Result<(), NodeError>> {
        let mut background = JoinSet::new();
        for source in &self.sources {
            source.spawn_loops(&self.kept.clock, &mut background);
        }
        if let Some(tokens) = self.tokens.clone() {
            let (clock, health) = (Arc::clone(&self.kept.clock), Arc::clone(&self.health));
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
        background
    }

    /// Starts the followers of logs.
    pub(super) fn spawn_followers(&self, background: &mut JoinSet<Result<(), NodeError>>) {
        for source in &self.sources {
            source.spawn_follower(&self.kept.clock, self.longest_ttl, background);
        }
    }

    fn admin(&self, reloader: &ReloadHandle, configuration: &Arc<Configuration>) -> Admin {
        let (sources, clock, chance) = (&self.sources, &self.kept.clock, &self.kept.chance);
        let invalidators = sources.iter().map(|source| source.invalidator(clock, chance));
        let configuration = Arc::clone(configuration);
        Admin {
            health: Arc::clone(&self.health),
            sources: sources.iter().map(|source| source.admin(clock)).collect(),
            process_registries: Arc::clone(&self.kept.registries),
            registry: std::mem::take(&mut *self.registry.lock()),
            contracts: Arc::clone(&self.contracts),
            page_audit: self
                .page_audit
                .clone()
                .map(|pages| -> PageAuditSource { Arc::new(move || pages.report()) }),
            inspector: Arc::new(NodeInspector { data: self.data.clone() }),
            invalidators: Invalidators::new(invalidators.collect(), Arc::clone(&self.contracts)),
            gate: self.gate.clone(),
            audit_log: self.kept.audit_log.clone(),
            bodies: BodySlots::default(),
            tokens: TokenIssuers::new(sources.iter().map(Installation::tokens).collect()),
            reloader: Arc::new(reloader.clone()),
            configuration: Arc::new(move || configuration.status()),
        }
    }
}

impl Server {
    fn begin_reload(&mut self, reloads: &Reloads, asked: Vec<Done>) {
        self.service_manager.reloading();
        let present = Arc::clone(&self.live.node);
        let prepared = tokio::spawn(Box::pin(prepare(reloads.path(), present)));
        self.reloading = Some(Reloading { prepared, asked, begun: self.kept.clock.mono() });
    }

    /// Has the replacement serve, or reports why there is none, and answers the callers.
    async fn end_reload(&mut self, (prepared, reloading): (Prepared, Reloading)) {
        let result = match prepared {
            Ok(replacement) => {
                let reloaded = self.replace(replacement, reloading.begun).await;
                self.service_manager.ready(SERVING);
                Ok(reloaded)
            }
            Err(err) => {
                self.kept.reload_metrics.failed();
                self.configuration.failed(&err.to_string());
                let detail = format!("the configuration of before serves: {err}");
                self.service_manager.ready(&detail);
                self.kept.health.optional("reload", false, detail);
                tracing::error!(error = %err, "not reloaded; the configuration of before serves");
                Err(err)
            }
        };
        for caller in reloading.asked {
            // A caller that is gone needs no answer.
            let _ = caller.send(result.clone());
        }
    }

    /// Replaces the configuration that serves. Requests that arrive from now on are served by the new one.
    async fn replace(
        &mut self,
        Replacement { live, changed }: Replacement,
        begun: Mono,
    ) -> Reloaded {
        let (kept, node) = (&self.kept, &live.node);
        self.faces.set(node, node.admin(&self.handle, &self.configuration));
        let now_ms = kept.clock.wall_ms();
        let number = self.configuration.replaced(&node.settings, now_ms);
        kept.reload_metrics.succeeded();
        kept.reload_metrics.serves_since(now_ms);
        kept.health.optional("reload", true, "the present configuration serves");
        let mut before = std::mem::replace(&mut self.live, live);
        before.stop_following().await;
        self.live.follow();
        tokio::spawn(before.retire());
        tracing::info!(number, changed = changed.join(", "), "reloaded");
        let took = self.kept.clock.mono().since(begun);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Reloaded { number, changed, took_ms }
    }
}

/// Waits for the stop. The end of its sender is one, too.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

type Prepared = Result<Replacement, ReloadError>;

/// Waits for the end of the preparation, and takes it; pending while there is none.
async fn prepared(reloading: &mut Option<Reloading>) -> (Prepared, Reloading) {
    let Some(Reloading { prepared, .. }) = reloading else { return std::future::pending().await };
    let result = prepared.await.unwrap_or_else(|err| {
        Err(ReloadError::Environment(format!("the preparation has ended: {err}")))
    });
    match reloading.take() {
        Some(reloading) => (result, reloading),
        None => std::future::pending().await,
    }
}

/// The cache of this node works without the ledger.
fn report_ledger(health: &Health, swept: Result<(), sale::ledger::LedgerError>) {
    match swept {
        Ok(()) => health.optional("sale", true, "the ledger answers"),
        Err(err) => health.optional("sale", false, err.to_string()),
    }
}
