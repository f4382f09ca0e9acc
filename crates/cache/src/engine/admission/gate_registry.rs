//! The gates of all origins, by name.

use std::collections::HashMap;
use std::sync::Arc;

use coherence::{Clock, Mono};
use parking_lot::Mutex;

use super::origin_gate::OriginGate;
use crate::engine::metrics::Metrics;
use crate::engine::options::EngineOptions;
use crate::origin::Origin;

/// Creates gates on first use. Origins of the same name share one.
pub(crate) struct GateRegistry {
    options: EngineOptions,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    gates: Mutex<HashMap<Box<str>, Arc<OriginGate>>>,
}

impl GateRegistry {
    pub(crate) fn new(options: EngineOptions, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        Self { options, clock, metrics, gates: Mutex::default() }
    }

    /// Returns the gate of an origin.
    pub(crate) fn gate(&self, origin: &dyn Origin) -> Arc<OriginGate> {
        self.gate_of(origin.name(), origin.concurrency())
    }

    /// Returns the gate of the origin `name`. `concurrency`: its maximum number of concurrent requests,
    /// instead of [`EngineOptions::origin_concurrency`]; it counts when the gate is created.
    pub(crate) fn gate_of(&self, name: &str, concurrency: Option<usize>) -> Arc<OriginGate> {
        let mut gates = self.gates.lock();
        if let Some(gate) = gates.get(name) {
            return Arc::clone(gate);
        }
        let max = concurrency.unwrap_or(self.options.origin_concurrency);
        let (clock, metrics) = (Arc::clone(&self.clock), self.metrics.clone());
        let gate = Arc::new(OriginGate::new(name, max, &self.options, clock, metrics));
        gates.insert(name.into(), Arc::clone(&gate));
        gate
    }

    /// Returns the share of a budget that may be spent at `now`, by origin.
    pub(crate) fn spend(&self, now: Mono) -> Vec<(Box<str>, f64)> {
        let gates = self.gates.lock();
        gates.iter().map(|(name, gate)| (name.clone(), gate.pressure().spend(now))).collect()
    }
}
