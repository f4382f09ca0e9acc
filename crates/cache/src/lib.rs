//! The read path and its tiers: look up, coalesce, admit, load, fill.
//!
//! An answer comes from the in-process tier, the shared tier or the origin, and carries its proof (tier, age,
//! bound). [`coherence`] decides which values may be stored and when they are invalidated; the [`contract`]
//! decides how stale an answer may be.

pub mod audit;
pub mod chance;
pub mod clock;
pub mod engine;
pub mod entry;
pub mod leader;
mod local;
pub mod origin;
mod partial;
pub mod shared;
mod survey;

pub use chance::{Chance, ThreadChance};
pub use clock::SystemClock;
pub use engine::{
    Answer, AtomicBatch, Engine, EngineOptions, ForeignProof, GovernorMode, Item, Mappings,
    Metrics, NeverFed, Policy, Proof, ReadError, Rules, ServedAs, Stale, Standalone, Tier,
    TierEntry, WitnessFill, admission,
};
pub use entry::{Content, Entry, Value};
pub use local::{
    Assured, EntryFields, FilterState, FilterStatus, LocalEntry, LocalMemory, LocalStatus,
    MOST_ASSURED, POOLS, PoolStatus,
};
pub use origin::{
    EarlyAnswer, KeyPage, KeyScan, LoadItem, Loaded, LoadedMany, Origin, OriginError,
    OriginErrorKind, Party, ScanEstimate, TimedChange,
};
pub use partial::{BrokenBody, PartialBody, PartialReader, PartialWriter};
pub use shared::{SharedTier, TierError};
pub use survey::Survey;
