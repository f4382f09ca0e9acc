//! The gates of all origins, by name.

use std::collections::HashMap;
use std::sync::Arc;

use coherence::{Clock, Mono};
use parking_lot::Mutex;

use super::gate_options::GateOptions;
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

    /// Returns the gate of an origin. Its [concurrency](Origin::concurrency) counts when the gate is created.
    pub(crate) fn gate(&self, origin: &dyn Origin) -> Arc<OriginGate> {
        self.gate_of(origin.name(), || self.options_of(origin.concurrency()))
    }

    /// Returns the gate of the origin `name`; `options` count when the gate is created.
    pub(crate) fn gate_of(
        &self,
        name: &str,
        options: impl FnOnce() -> GateOptions,
    ) -> Arc<OriginGate> {
        let mut gates = self.gates.lock();
        if let Some(gate) = gates.get(name) {
            return Arc::clone(gate);
        }
        let (clock, metrics) = (Arc::clone(&self.clock), self.metrics.clone());
        let chance = Arc::clone(&self.options.chance);
        let gate = Arc::new(OriginGate::new(name, options(), chance, clock, metrics));
        gates.insert(name.into(), Arc::clone(&gate));
        gate
    }

    /// Returns the settings of a gate that does not set its own; see [`GateOptions::new`].
    pub(crate) fn options_of(&self, concurrency: Option<usize>) -> GateOptions {
        GateOptions::new(&self.options, concurrency)
    }

    /// Returns the share of a budget that may be spent at `now`, by origin.
    pub(crate) fn spend(&self, now: Mono) -> Vec<(Box<str>, f64)> {
        let gates = self.gates.lock();
        gates.iter().map(|(name, gate)| (name.clone(), gate.pressure().spend(now))).collect()
    }
}
