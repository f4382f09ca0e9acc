//! The rules that make an answer provably fresh: pure functions and state machines.
//!
//! Nothing here does I/O, reads a clock, draws a random number or blocks. The product, the model
//! checker and the simulator run this same code: a model of a second copy of the rules would prove
//! nothing about the first. `docs/coherence.md` explains the protocol.
//!
//! Terms that every module uses: [`position`] (positions in the commit log, epochs), [`event`]
//! (invalidations and batches of them), [`clock`] (monotonic time) and [`rules`] (each rule by
//! name, so that a model can run without it).
//!
//! | module | responsibility |
//! |---|---|
//! | **the stream: from the commit log to the tiers** | |
//! | [`watermark`] | the position up to which every commit is visible to every new snapshot |
//! | [`cursor`] | the batches to publish to the tiers, and the position to confirm to the database |
//! | [`resume`] | after a reconnection: continue the tier's epoch, or reset it |
//! | [`applied_schema`] | whether a sample proves a tier, after definitions were altered without an event |
//! | [`relay`] | completeness of transactions that another process (Debezium) reads from the log |
//! | [`binlog_relay`] | the same for a binary log, with the help of [`gtid`]s |
//! | [`replay_buffer`] | the last batches, for a tier that comes back at an older position |
//! | [`high_water_mark`] | detection of a tier that comes back at an older position |
//! | [`watermark_history`] | the watermark over time: τ for loads from a service that lags |
//! | **a tier: stored entries and their invalidation** | |
//! | [`fence`] | whether a fill may be stored, and whether an entry still stands |
//! | [`buckets`] | one tier whose keys lie in several independent places |
//! | [`generation`] | invalidations in force before the entries that they concern are removed |
//! | [`soft`] | soft invalidation: the remaining proof of an entry that a commit has made old |
//! | [`governor`] | the share of its budget that a contract may spend while its origin is under pressure |
//! | [`key_filter`] | proven absence of keys without an entry per key |
//! | [`leadership`] | which database a shared tier follows, and who may change that |
//! | [`coverage`] | the mappings that the leader applies: entries of other contracts are unproven |
//! | [`lease`] | one loader per key in the cluster |
//! | [`sliding_ttl`] | a TTL that each use prolongs |
//! | **a read: the proof of an answer** | |
//! | [`bound`] | the time as of which a tier at a position is proven to miss nothing |
//! | [`sample_pace`] | how often a node samples the log's end |
//! | [`causal_token`] | read-your-writes: whether an answer includes a given write |
//! | [`causal_tokens`] | the same for writes to several databases |
//! | [`database_clock`] | when the database's clock reaches a time at which a value changes |
//! | [`joint`] | the proof of a value that depends on several logs |
//! | [`standby`] | the proof of an answer from a database standby |
//! | [`atomic`] | whether several values come from one database snapshot |
//! | **calls** | |
//! | [`circuit_breaker`] | whether a call to a server that fails is made |

pub mod circuit_breaker;
pub mod clock;
pub mod event;
pub mod position;
mod read;
pub mod rules;
mod stream;
mod tier;

pub use circuit_breaker::{BreakerOptions, BreakerPass, CircuitBreaker};
pub use clock::{Clock, Mono};
pub use event::{Batch, Cause, Event, Renewal, Subject};
pub use position::{Epoch, Log, Lsn, server_digest};
pub use read::{
    atomic, bound, causal_token, causal_tokens, database_clock, joint, sample_pace, standby,
};
pub use rules::Rule;
pub use stream::{
    applied_schema, binlog_relay, cursor, gtid, high_water_mark, relay, replay_buffer, resume,
    watermark, watermark_history,
};
pub use tier::{
    buckets, coverage, fence, generation, governor, key_filter, leadership, lease, sliding_ttl,
    soft,
};

pub use applied_schema::{AppliedSchema, ObjectDigests, SchemaGate};
pub use binlog_relay::BinlogRelay;
pub use bound::Bound;
pub use causal_token::{CausalToken, Reached};
pub use causal_tokens::CausalTokens;
pub use coverage::{Coverage, CoverageDigest, KnownCoverage};
pub use cursor::{Advance, StreamCursor};
pub use database_clock::{ClockReading, ClockTime, DatabaseClock, Turn};
pub use fence::{Fence, Followed, Offer, Refusal, Verdict};
pub use generation::Generation;
pub use governor::Governor;
pub use gtid::{Gtid, GtidSet};
pub use high_water_mark::HighWaterMark;
pub use joint::{JointProof, LoadId, Witness};
pub use key_filter::{KeyFilter, KeySet};
pub use leadership::{Claim, Conflict, History};
pub use lease::{LeaseToken, Leases};
pub use relay::Relay;
pub use replay_buffer::ReplayBuffer;
pub use sample_pace::{SamplePace, SampleResult};
pub use sliding_ttl::SlidingTtl;
pub use soft::{EntryState, Invalidation, Raise, SoftStale};
pub use standby::{ReadRequirement, Rejection, Replayed};
pub use watermark::{Snapshot, Watermark};
pub use watermark_history::WatermarkHistory;
