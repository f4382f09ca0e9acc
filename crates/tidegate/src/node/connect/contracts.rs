//! Contracts with their policies and origins.

use std::sync::Arc;

use ::node::AuditTarget;
use cache::{Origin, Policy, Rules};
use coherence::Clock;
use contract::{Contract, Contracts};
use edge::data::ServedContract;
use edge::{HttpOrigin, ServiceMetrics, TlsFiles};
use prometheus_client::registry::Registry;

use crate::node::error::NodeError;

/// A contract that keeps a filter of its ids.
pub(crate) struct FilteredContract {
    pub(crate) contract: Contract,
    pub(crate) policy: Arc<Policy>,
    pub(crate) origin: Arc<dyn Origin>,
}

/// Returns the contracts of `served` that keep a filter of their ids.
pub(crate) fn filtered_contracts(served: &[ServedContract]) -> Vec<FilteredContract> {
    let filtered = served.iter().filter(|served| served.contract.absent_filter.is_some());
    let filtered = filtered.map(|served| FilteredContract {
        contract: served.contract.clone(),
        policy: Arc::clone(&served.policy),
        origin: Arc::clone(&served.origin),
    });
    filtered.collect()
}

/// Returns a contract among `contracts` with its origin.
pub(super) fn served_contract(
    contract: &Contract,
    contracts: &Contracts,
    origin: Arc<dyn Origin>,
) -> ServedContract {
    let policy = Arc::new(Policy::new(Rules::of(contract, contracts)));
    ServedContract { contract: contract.clone(), policy, origin }
}

pub(super) fn audit_target(
    served: &ServedContract,
    origin: impl Origin,
) -> (Arc<str>, AuditTarget) {
    let policy = Arc::clone(&served.policy);
    (Arc::clone(&policy.rules.name), AuditTarget { policy, origin: Arc::new(origin) })
}

/// Returns the contracts whose values services give.
pub(crate) fn services(
    contracts: &Contracts,
    files: &TlsFiles,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Result<Vec<ServedContract>, NodeError> {
    let metrics = ServiceMetrics::new(registry);
    let services =
        contracts.iter().filter_map(|contract| Some((contract, contract.service.clone()?)));
    services
        .map(|(contract, service)| {
            let variable = |name: &str| std::env::var(name).ok();
            let (clock, metrics) = (Arc::clone(clock), metrics.clone());
            let origin =
                HttpOrigin::new(contract.clone(), service, variable, files, clock, metrics)?;
            Ok(served_contract(contract, contracts, Arc::new(origin)))
        })
        .collect()
}
