//! The state that the handlers of the admin API share.

use std::sync::Arc;

use access::{AuditLog, Gate};
use axum::extract::State;
use cache::Engine;
use cache::audit::PageAuditReport;
use contract::Contracts;
use node::{AuditLoop, Health, Invalidators, Journal, SignatureRefusals, TokenIssuers};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use crate::body::BodySlots;
use crate::events::EventEndpoint;
use crate::inspect::TierInspector;
use crate::reload::{ConfigReloader, ConfigurationStatus};

/// Reads the report of the auditor of pages.
pub type PageAuditSource = Arc<dyn Fn() -> PageAuditReport + Send + Sync>;

/// Reads the state of the configuration.
pub type ConfigurationSource = Arc<dyn Fn() -> ConfigurationStatus + Send + Sync>;

/// The parts of a node that the admin API shows and controls.
pub struct Admin {
    /// Whether the process should get traffic.
    pub health: Arc<Health>,
    /// The sources, the main one first: at least one.
    pub sources: Vec<AdminSource>,
    /// The metrics of the process.
    pub process_registries: Arc<Mutex<Vec<Registry>>>,
    /// The metrics of the present configuration.
    pub registry: Registry,
    /// The contracts.
    pub contracts: Arc<Contracts>,
    /// Reads the report of the auditor of pages; `None` without one.
    pub page_audit: Option<PageAuditSource>,
    /// Reads this node's tiers for another node's auditor.
    pub inspector: Arc<dyn TierInspector>,
    /// Applies purge requests.
    pub invalidators: Invalidators,
    /// Issues causal tokens.
    pub tokens: TokenIssuers,
    /// The access rules.
    pub gate: Gate,
    /// Records purge requests; `None`: there is no audit log.
    pub audit_log: Option<AuditLog>,
    /// Reloads the configuration.
    pub reloader: Arc<dyn ConfigReloader>,
    /// Reads the state of the configuration.
    pub configuration: ConfigurationSource,
    /// The memory for the bodies of requests.
    pub bodies: BodySlots,
}

/// The parts of a node that follow one source.
pub struct AdminSource {
    /// Its name.
    pub name: Arc<str>,
    /// The engine whose state `/api/v1/status` shows.
    pub engine: Engine,
    /// The last invalidations.
    pub journal: Arc<Journal>,
    /// The auditor, for `/api/v1/audit`.
    pub audit: Arc<AuditLoop>,
    /// The values and messages that were refused because of their signature, for `/api/v1/audit`.
    pub refusals: SignatureRefusals,
    /// Receives posted change events; `None` where the source's log is read.
    pub events: Option<EventEndpoint>,
}

/// The state as handlers receive it.
pub(crate) type SharedAdmin = State<Arc<Admin>>;
