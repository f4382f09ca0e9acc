//! The read path of one node: look up, coalesce, admit, load, fill, answer with a proof.
//!
//! A cold read in the order of its steps:
//!
//! 1. [`Engine::get`] (`read/get.rs`) looks the key up in the in-process tier (`read/lookup_local.rs`).
//! 2. On a miss it joins the key's flight or starts one (`coalesce/`).
//! 3. The flight (`read/run_load.rs`) looks the key up in the shared tier, which may grant a lease
//!    (`read/lookup_shared.rs`).
//! 4. The loader (`load/`) asks a standby or, through the origin's gate (`admission/`), the primary.
//! 5. The loaded value gets its proof and its τ (`load/proof_of_load.rs`) and is offered to the tiers
//!    (`load/fill.rs`).
//!
//! `batch/` does the same for many keys at once, `background/` keeps the in-process tier up to date.

pub mod admission;
mod answer;
mod background;
mod batch;
mod coalesce;
mod error;
mod foreign;
mod governor_mode;
mod handle;
mod joint_proof;
mod load;
pub mod metrics;
pub(crate) mod observer;
mod options;
mod policy;
mod read;
mod rules;
mod standalone;
mod striped_counter;
mod tiers;
mod witness;

pub use self::answer::{Answer, Proof, Stale, Tier};
pub use self::batch::{AtomicBatch, Item};
pub use self::error::ReadError;
pub use self::foreign::ForeignProof;
pub use self::governor_mode::GovernorMode;
pub use self::handle::Engine;
pub use self::metrics::Metrics;
pub use self::options::EngineOptions;
pub use self::policy::Policy;
pub use self::read::{ServedAs, TierEntry};
pub use self::rules::{Mappings, Rules};
pub use self::standalone::{NeverFed, Standalone};
pub use self::witness::WitnessFill;

#[cfg(test)]
mod tests;
