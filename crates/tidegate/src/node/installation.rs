//! One source of a node, with its own tiers: shared tier, engine, feed, journal and auditor.
//!
//! The sources of a node share nothing but the process: no epoch, no position and no fence.

use std::sync::Arc;
use std::time::Duration;

use ::node::{
    AuditLoop, FollowMetrics, Follower, FollowerParts, Health, Journal, LogInvalidator, LogSampler,
    PeerClient, Renewer, SchemaDependent, SignatureRefusals, TokenIssuer, check_claim,
    watch_standby,
};
use cache::{Chance, Engine, EngineOptions, LocalMemory};
use coherence::{Clock, Coverage, SamplePace, Subject};
use contract::{Contracts, TextForms};
use control::AdminSource;
use edge::data::{Sampler, ServedContract, ServedSource};
use feed::{Feed, Source};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;

use super::audit::SampledAnswers;
use super::connect::{self, Changes, FilteredContract, Standbys};
use super::error::NodeError;
use super::kept::{Kept, KeptSource};
use super::posted_events::PostedEvents;
use crate::config::{self, Config};

/// A source that is ready to be followed and served.
pub(super) struct Installation {
    pub(super) name: Arc<str>,
    /// The node has no other source.
    is_only: bool,
    /// Its address, for error messages.
    url: String,
    pub(super) engine: Engine,
    contracts: Arc<Contracts>,
    source: Arc<dyn Source>,
    /// The name under which the database tracks the leader.
    slot: String,
    standbys: Standbys,
    /// The origins whose statements depend on the source's schema.
    origins: Vec<SchemaDependent>,
    feed: Mutex<Option<(Box<dyn Feed>, Renewer)>>,
    /// The endpoint of posted change events, if the source has one.
    posted_events: Option<PostedEvents>,
    filtered: Vec<FilteredContract>,
    health: Arc<Health>,
    journal: Arc<Journal>,
    pub(super) follow_metrics: FollowMetrics,
    audit: Arc<AuditLoop>,
    refusals: SignatureRefusals,
}

/// The parts of a node that its sources share.
pub(super) struct NodeParts<'a> {
    pub(super) config: &'a Config,
    pub(super) changes: Changes,
    /// The contracts of all sources, as they are in the configuration, and with the tables that they mean.
    pub(super) configured: &'a Contracts,
    pub(super) contracts: &'a Contracts,
    /// The share of each source.
    pub(super) memory: LocalMemory,
    pub(super) kept: &'a Kept,
    pub(super) peers: &'a Arc<dyn PeerClient>,
    pub(super) health: Arc<Health>,
}

/// The values that a source serves.
pub(super) type Served = (ServedSource, Vec<ServedContract>);

impl Installation {
    /// Connects to a source and to its shared tier and checks that both can be used. Adds the forms of its columns to
    /// `forms`.
    ///
    /// # Errors
    /// [`NodeError`]: what is missing, and how to get it.
    pub(super) async fn connect(
        parts: NodeParts<'_>,
        name: &str,
        source: &config::Source,
        forms: &mut TextForms,
        registry: &mut Registry,
    ) -> Result<(Self, Served), NodeError> {
        let NodeParts { config, changes, memory, kept, health, .. } = parts;
        let (clock, chance) = (&kept.clock, &kept.chance);
        let configured = parts.configured.of_source(name, source.main);
        let contracts = Arc::new(parts.contracts.of_source(name, source.main));
        let audited = config.audit.reads_per_second > 0.0;
        let mut database = connect::database(
            name,
            source,
            &configured,
            &contracts,
            audited,
            changes,
            clock,
            registry,
        )
        .await?;
        forms.extend(std::mem::take(&mut database.forms));
        let messages = database.message_keys.refusals().clone();
        let KeptSource { shared, refusals: values, journal } =
            kept.source(config, (name, source), memory).await?;
        let slot = source.events.as_ref().map_or(&source.slot, |events| &events.slot).clone();
        match check_claim(&*shared, &*database.source, &slot).await {
            // A tier that is away is identified when it answers: before that, nothing is read from it or stored in it.
            Err(error) if !connect::is_away(&error) => {
                return Err(NodeError::Shared { url: config.shared.url.to_string(), error });
            }
            Ok(()) | Err(_) => {}
        }
        let options = EngineOptions {
            local_bytes: memory.bytes,
            assured: memory.assured,
            shared_timeout: config.shared.timeout,
            load_timeout: source.load_timeout,
            governor: config.governor,
            coverage: Coverage::of(contracts.mappings()),
            ..EngineOptions::default()
        };
        let metrics = cache::Metrics::new(registry);
        let engine = Engine::new(options, shared, Arc::clone(clock), metrics);
        let follow_metrics = FollowMetrics::new(registry);
        let origins = origins_of(&database);
        database.served.extend(connect::services(&contracts, &config.client_tls, clock, registry)?);
        let filtered = connect::filtered_contracts(&database.served);
        let audit = AuditLoop::new(
            &config.audit,
            &engine,
            database.audit_targets,
            Arc::clone(parts.peers),
            clock,
            Arc::clone(chance),
            registry,
        );
        let sampler = audit.observe().map(|sampler| Arc::new(SampledAnswers(sampler)));
        let sampler = sampler.map(|sampler| sampler as Arc<dyn Sampler>);
        let served = (ServedSource { engine: engine.clone(), sampler }, database.served);
        let posted_events = database.inbox.zip(source.events.as_ref()).map(|(inbox, events)| {
            PostedEvents { source: name.to_owned(), secret: events.secret.clone(), inbox }
        });
        let installation = Self {
            name: name.into(),
            is_only: config.sources.len() == 1,
            url: source.url.to_string(),
            engine,
            contracts,
            source: database.source,
            slot,
            standbys: database.standbys,
            origins,
            feed: Mutex::new(Some((database.feed, database.renewer))),
            posted_events,
            filtered,
            health,
            journal,
            follow_metrics,
            audit,
            refusals: SignatureRefusals { values, messages },
        };
        Ok((installation, served))
    }

    /// Starts the loops of the source, apart from that which follows its log.
    pub(super) fn spawn_loops(
        &self,
        clock: &Arc<dyn Clock>,
        background: &mut JoinSet<Result<(), NodeError>>,
    ) {
        let engine = self.engine.clone();
        background.spawn(async move {
            engine.follow(std::future::pending()).await;
            Ok(())
        });
        let pace = SamplePace::default();
        let sampler = LogSampler::new(
            self.engine.clone(),
            Arc::clone(&self.source),
            Arc::clone(clock),
            Arc::clone(&self.health),
            pace,
        )
        .with_origins(self.origins.clone());
        background.spawn(async move {
            sampler.run().await;
            Ok(())
        });
        for standby in &self.standbys.all {
            let standby = Arc::clone(standby);
            let engine = self.engine.clone();
            let metrics = self.standbys.metrics.clone();
            background.spawn(async move {
                watch_standby(standby, engine, pace.slowest, metrics).await;
                Ok(())
            });
        }
        let audit = Arc::clone(&self.audit);
        background.spawn(async move {
            audit.run().await;
            Ok(())
        });
        let refusals = self.refusals.clone();
        let (clock_of_refusals, health) = (Arc::clone(clock), Arc::clone(&self.health));
        background.spawn(async move {
            refusals.watch(clock_of_refusals, health).await;
            Ok(())
        });
        for FilteredContract { contract, policy, origin } in &self.filtered {
            let engine = self.engine.clone();
            let (contract, policy) = (contract.clone(), Arc::clone(policy));
            let origin = Arc::clone(origin);
            background.spawn(async move {
                engine.keep_filter(&contract, &policy, &origin).await;
                std::future::pending().await
            });
        }
    }

    /// Starts the loop that follows the log of the source. `longest_ttl`: the longest that any contract gives an entry.
    pub(super) fn spawn_follower(
        &self,
        clock: &Arc<dyn Clock>,
        longest_ttl: Duration,
        background: &mut JoinSet<Result<(), NodeError>>,
    ) {
        if let Some((feed, renewer)) = self.feed.lock().take() {
            let follower = Follower::new(feed, renewer, self.follower_parts(clock, longest_ttl));
            let (name, url) = (self.name.to_string(), self.url.clone());
            let health = (!self.is_only).then(|| Arc::clone(&self.health));
            background.spawn(async move {
                let error = NodeError::Feed { name, url, error: follower.run().await };
                let Some(health) = health else { return Err(error) };
                // The other sources stay proven: they are worth more than a restart of this one.
                tracing::error!(%error, "a source is not followed any more; restart this node after its repair");
                health.optional("feed", false, format!("{error}; restart this node after its repair"));
                std::future::pending().await
            });
        }
    }

    fn follower_parts(&self, clock: &Arc<dyn Clock>, longest_ttl: Duration) -> FollowerParts {
        let Self { name, url, slot, .. } = self;
        FollowerParts {
            engine: self.engine.clone(),
            source: Arc::clone(&self.source),
            contracts: Arc::clone(&self.contracts),
            clock: Arc::clone(clock),
            health: Arc::clone(&self.health),
            journal: Arc::clone(&self.journal),
            metrics: self.follow_metrics.clone(),
            longest_ttl,
            slot: slot.clone(),
            label: format!("[source.{name}] {url}, slot {slot}").into(),
        }
    }

    /// Returns the part of the source that the admin API shows.
    pub(super) fn admin(&self, clock: &Arc<dyn Clock>) -> AdminSource {
        let posted_events = self.posted_events.clone();
        AdminSource {
            name: Arc::clone(&self.name),
            engine: self.engine.clone(),
            journal: Arc::clone(&self.journal),
            audit: Arc::clone(&self.audit),
            refusals: self.refusals.clone(),
            events: posted_events.map(|events| events.into_endpoint(clock)),
        }
    }

    /// Returns the writer of purge requests to the source's log.
    pub(super) fn invalidator(
        &self,
        clock: &Arc<dyn Clock>,
        chance: &Arc<dyn Chance>,
    ) -> (Arc<str>, LogInvalidator) {
        let invalidator = LogInvalidator::new(
            self.engine.clone(),
            Arc::clone(&self.source),
            Arc::clone(clock),
            Arc::clone(chance),
            Arc::clone(&self.contracts),
        );
        (Arc::clone(&self.name), invalidator)
    }

    /// Returns the issuer of tokens for the source's log.
    pub(super) fn tokens(&self) -> (Arc<str>, TokenIssuer) {
        let issuer = TokenIssuer::new(self.engine.clone(), Arc::clone(&self.source));
        (Arc::clone(&self.name), issuer)
    }
}

/// Returns the origins of a database: those of the readers, and the auditor's own.
fn origins_of(database: &connect::Database) -> Vec<SchemaDependent> {
    let served = database.served.iter().map(|served| {
        // A template whose pattern would match nearly everything has none.
        let keys = served.contract.key.pattern();
        let entries = Some(keys.map_or(Subject::Everything, Subject::KeysLike));
        SchemaDependent { origin: Arc::clone(&served.origin), entries }
    });
    let audited = database
        .audit_targets
        .values()
        .map(|target| SchemaDependent { origin: Arc::clone(&target.origin), entries: None });
    served.chain(audited).collect()
}
