//! The parts of a process that outlive a reload of its configuration. Their keys need a restart.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use ::listen::ListenerMetrics;
use ::node::process_memory::ProcessMemory;
use ::node::{Health, Journal};
use access::{AuditLog, AuditLogError};
use cache::{Chance, LocalMemory, SharedTier, SystemClock, ThreadChance};
use coherence::Clock;
use contract::Refusals;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use super::connect::{self, Changes};
use super::error::NodeError;
use super::issued::KeptCertificates;
use super::reload_metrics::ReloadMetrics;
use super::tls::TlsListeners;
use crate::config::{Config, Source};

/// The invalidations of a source that `/api/v1/invalidations` can show.
const JOURNAL_RECORDS: usize = 10_000;

/// The parts that all configurations of a process use one after the other.
pub(super) struct Kept {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) chance: Arc<dyn Chance>,
    /// The components of the process.
    pub(super) health: Arc<Health>,
    /// The metrics of these parts.
    pub(super) registries: Arc<Mutex<Vec<Registry>>>,
    pub(super) access_metrics: access::Metrics,
    pub(super) audit_log: Option<AuditLog>,
    pub(super) tls: TlsListeners,
    pub(super) certificates: Option<KeptCertificates>,
    pub(super) listener_metrics: [ListenerMetrics; super::listen::NAMES.len()],
    pub(super) edge_metrics: Arc<edge::Metrics>,
    pub(super) reload_metrics: ReloadMetrics,
    sources: Mutex<BTreeMap<String, KeptSource>>,
    sale: Mutex<Option<(sale::Sale, sale::jobs::Jobs)>>,
}

/// The parts of a source that all configurations use.
#[derive(Clone)]
pub(super) struct KeptSource {
    pub(super) shared: Arc<dyn SharedTier>,
    /// The values in it that are refused because of their signature.
    pub(super) refusals: Refusals,
    pub(super) journal: Arc<Journal>,
}

impl Kept {
    /// Opens the audit log and reads the certificates. The shared tiers and the ledger are connected with the first
    /// configuration. A check leaves no record in the audit log.
    ///
    /// # Errors
    /// [`NodeError`]
    pub(super) fn open(config: &Config, changes: Changes) -> Result<Self, NodeError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessMemory));
        let access_metrics = access::Metrics::new(&mut registry);
        let open = |log| AuditLog::open(log, Arc::clone(&clock), access_metrics.clone());
        let audit_log = match (&config.access.audit_log, changes) {
            (Some(log), Changes::Applied) => Some(open(log)?),
            (Some(log), Changes::Planned) => {
                check_writable(&log.file)?;
                None
            }
            (None, _) => None,
        };
        let tls = TlsListeners::open(config, &mut registry)?;
        let mut unused = Registry::default();
        let of_gateway = if config.gateway.is_some() { &mut registry } else { &mut unused };
        let edge_metrics = Arc::new(edge::Metrics::new(of_gateway));
        Ok(Self {
            clock,
            chance: Arc::new(ThreadChance),
            health: Arc::default(),
            access_metrics,
            audit_log,
            tls,
            certificates: KeptCertificates::of(config, &mut registry),
            listener_metrics: ListenerMetrics::register(super::listen::NAMES, &mut registry),
            edge_metrics,
            reload_metrics: ReloadMetrics::new(&mut registry),
            registries: Arc::new(Mutex::new(vec![registry])),
            sources: Mutex::default(),
            sale: Mutex::default(),
        })
    }

    /// Returns the parts of a source, which the first call connects. `memory`: its size in this process.
    ///
    /// # Errors
    /// As [`connect::shared_tier`].
    pub(super) async fn source(
        &self,
        config: &Config,
        (name, source): (&str, &Source),
        memory: LocalMemory,
    ) -> Result<KeptSource, NodeError> {
        if let Some(kept) = self.sources.lock().get(name) {
            return Ok(kept.clone());
        }
        let label = (config.sources.len() > 1).then(|| ("source".into(), name.to_owned().into()));
        let mut registry = Registry::with_labels(label.into_iter());
        let (shared, refusals) =
            connect::shared_tier(config, (name, source), memory, &self.clock, &mut registry)
                .await?;
        let journal = Arc::new(Journal::new(JOURNAL_RECORDS));
        let kept = KeptSource { shared, refusals, journal };
        self.registries.lock().push(registry);
        self.sources.lock().insert(name.to_owned(), kept.clone());
        Ok(kept)
    }

    /// Returns the sale, whose ledger the first call opens; `None`: there is none.
    ///
    /// # Errors
    /// As [`connect::sale`].
    pub(super) async fn sale(
        &self,
        config: &Config,
    ) -> Result<Option<(sale::Sale, sale::jobs::Jobs)>, NodeError> {
        if let Some(sale) = &*self.sale.lock() {
            return Ok(Some(sale.clone()));
        }
        let mut registry = Registry::default();
        let sale = connect::sale(config, &self.clock, &mut registry).await?;
        if sale.is_some() {
            self.registries.lock().push(registry);
        }
        self.sale.lock().clone_from(&sale);
        Ok(sale)
    }
}

/// Checks that an audit log can be appended to, or that its folder exists.
fn check_writable(file: &Path) -> Result<(), AuditLogError> {
    let failed = |source| AuditLogError::Io { path: file.to_owned(), source };
    match OpenOptions::new().append(true).open(file) {
        Ok(_) => Ok(()),
        Err(err) if err.kind() == ErrorKind::NotFound => {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            folder.map_or(Ok(()), |folder| folder.metadata().map(drop)).map_err(failed)
        }
        Err(err) => Err(failed(err)),
    }
}
