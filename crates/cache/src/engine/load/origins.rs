//! The ways to the origins: the gates of primaries and standbys.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use coherence::Clock;

use crate::engine::admission::GateRegistry;
use crate::engine::metrics::Metrics;
use crate::engine::options::EngineOptions;

/// A standby gets this part of a load's timeout: the primary may have to be asked after it.
const STANDBY_SHARE: u32 = 4;

/// The ways to the origins.
pub(crate) struct Origins {
    pub(crate) primaries: GateRegistry,
    /// Apart from those of primaries: pressure on a standby spends no budget.
    pub(crate) standbys: GateRegistry,
    /// Rotates the standbys.
    pub(super) next_standby: AtomicUsize,
}

impl Origins {
    pub(crate) fn new(options: &EngineOptions, clock: &Arc<dyn Clock>, metrics: &Metrics) -> Self {
        let load_timeout = options.load_timeout / STANDBY_SHARE;
        let standby_options = EngineOptions { load_timeout, ..options.clone() };
        let registry = |options| GateRegistry::new(options, Arc::clone(clock), metrics.clone());
        Self {
            primaries: registry(options.clone()),
            standbys: registry(standby_options),
            next_standby: AtomicUsize::new(0),
        }
    }
}
