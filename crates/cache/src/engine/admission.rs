//! Admission: the one decision whether a request may go to an origin, by priority class.
//!
//! Each origin has one [`OriginGate`]: a concurrency limit with a queue by priority class, a circuit
//! breaker, a retry budget and a measure of the pressure on the origin. The engine's loads pass it, and
//! every other request to the same origin passes it too ([`OriginGate::admit`]), so that all of them share
//! one limit and one order of shedding. Of that limit, loads leave a part to the others, and each party
//! leaves a part to other parties ([`Shares`]).

mod concurrency_limit;
mod gate_options;
mod gate_registry;
mod gated_load;
mod limit_search;
mod origin_gate;
mod pressure;
mod request;
mod retry_budget;
mod shared_tier_guard;

pub use self::concurrency_limit::class_capacity;
pub use self::gate_options::GateOptions;
pub(crate) use self::gate_registry::GateRegistry;
pub(crate) use self::gated_load::GatedLoad;
pub use self::limit_search::{Exchange, LimitRange};
pub use self::origin_gate::{OriginGate, Permit, RejectReason, Rejected, RequestOutcome};
pub(crate) use self::pressure::Pressure;
pub use self::request::{AdmissionRequest, Lane, Shares};
pub(crate) use self::shared_tier_guard::GuardedTier;
pub use coherence::{BreakerOptions, BreakerPass, CircuitBreaker};
