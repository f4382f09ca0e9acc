//! The read path and its tiers: look up → collapse → admit → load → fill.
//!
//! An answer comes from the in-process tier, the shared tier or the origin, and carries its proof
//! (tier, age, bound). Which values may be stored, and when a stored one falls, is decided by
//! [`coherence`]; how stale an answer may be, by its [`contract`].

pub mod audit;
pub mod chance;
pub mod clock;
pub mod engine;
pub mod entry;
pub mod leader;
mod local;
pub mod origin;
mod patience;
pub mod shared;
mod survey;
mod together;

pub use chance::{Chance, ThreadChance};
pub use clock::SystemClock;
pub use engine::{
    Answer, Answers, Engine, EngineOptions, FilterStanding, FilterState, Holding, Item,
    LocalStanding, Metrics, OneMoment, Policy, Proof, ReadError, Stale, Tier,
};
pub use entry::{Content, Entry, Value};
pub use local::{Assured, Held, MOST_ASSURED, POOLS, PoolStanding};
pub use origin::{Ask, Loaded, LoadedMany, Origin, OriginError, OriginErrorKind, Page, Roll, Rows};
pub use shared::{SharedTier, TierError};
pub use survey::Survey;
