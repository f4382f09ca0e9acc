//! Contracts with their policies and origins.

use std::sync::Arc;

use ::node::AuditTarget;
use cache::{Origin, Policy};
use coherence::Clock;
use contract::{Contract, Contracts};
use edge::data::Face;
use edge::{HttpOrigin, ServiceMetrics};
use prometheus_client::registry::Registry;

use crate::node::error::NodeError;

/// A contract that keeps a filter of its ids.
pub(crate) struct FilteredContract {
    pub(crate) contract: Contract,
    pub(crate) policy: Arc<Policy>,
    pub(crate) origin: Arc<dyn Origin>,
}

/// Returns the contracts of `faces` that keep a filter of their ids.
pub(crate) fn filtered_contracts(faces: &[Face]) -> Vec<FilteredContract> {
    let filtered = faces.iter().filter(|face| face.contract.absent_filter.is_some());
    let filtered = filtered.map(|face| FilteredContract {
        contract: face.contract.clone(),
        policy: Arc::clone(&face.policy),
        origin: Arc::clone(&face.origin),
    });
    filtered.collect()
}

pub(super) fn face(contract: &Contract, origin: Arc<dyn Origin>) -> Face {
    Face { contract: contract.clone(), policy: Arc::new(Policy::from(contract)), origin }
}

pub(super) fn audit_target(face: &Face, origin: impl Origin) -> (Arc<str>, AuditTarget) {
    let policy = Arc::clone(&face.policy);
    (Arc::clone(&policy.name), AuditTarget { policy, origin: Arc::new(origin) })
}

/// Returns the contracts whose values services give.
pub(crate) fn services(
    contracts: &Contracts,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Result<Vec<Face>, NodeError> {
    let metrics = ServiceMetrics::new(registry);
    let services =
        contracts.iter().filter_map(|contract| Some((contract, contract.service.clone()?)));
    services
        .map(|(contract, service)| {
            let variable = |name: &str| std::env::var(name).ok();
            let (clock, metrics) = (Arc::clone(clock), metrics.clone());
            let origin = HttpOrigin::new(contract.clone(), service, variable, clock, metrics)?;
            Ok(face(contract, Arc::new(origin)))
        })
        .collect()
}
