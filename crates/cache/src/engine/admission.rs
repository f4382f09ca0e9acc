//! Admission: the one decision whether a request may go to an origin, by priority class.
//!
//! Each origin has one [`OriginGate`]: an adaptive concurrency limit with a queue by priority class, a
//! circuit breaker, a retry budget and a measure of the pressure on the origin. The engine's loads pass
//! it, and every other request to the same origin can pass it too ([`OriginGate::admit`]), so that all of
//! them share one limit and one order of shedding.

mod circuit_breaker;
mod concurrency_limit;
mod gate_registry;
mod gated_load;
mod origin_gate;
mod pressure;
mod retry_budget;
mod shared_tier_guard;

pub use self::concurrency_limit::class_capacity;
pub(crate) use self::gate_registry::GateRegistry;
pub(crate) use self::gated_load::GatedLoad;
pub use self::origin_gate::{OriginGate, Permit, RejectReason, Rejected, RequestOutcome};
pub(crate) use self::pressure::Pressure;
pub(crate) use self::shared_tier_guard::GuardedTier;
