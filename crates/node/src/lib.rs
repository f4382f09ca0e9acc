//! The loops of a node: follow the log, renew entries, sample the log's end, watch standbys, fence purge
//! requests and audit answers.
//!
//! The crate opens no sockets and serves no HTTP. Time comes from [`coherence::Clock`], randomness from
//! [`cache::Chance`], and every wait is one of Tokio's timers, so the simulator runs the same loops on
//! virtual time. Databases, tiers and other nodes come in through traits: [`feed::Feed`], [`feed::Source`],
//! [`cache::SharedTier`], [`RowCatalogue`], [`StandbyProbe`] and [`PeerClient`].

pub mod audit;
mod claim;
pub mod follow;
pub mod health;
pub mod journal;
pub mod process_memory;
pub mod purge;
pub mod renew;
pub mod sample;
pub mod schema;
mod signatures;
pub mod standby;
mod tier_watch;
pub mod token;

pub use audit::{AnswerSampler, AuditLoop, AuditOptions, AuditTarget, PeerClient, PeerError};
pub use claim::check_claim;
pub use follow::{
    ChangedTables, FollowMetrics, Follower, FollowerParts, key_columns, renewed_columns,
    scoped_contracts, tracked_tables,
};
pub use health::{Component, Health, Readiness};
pub use journal::{Journal, Record};
pub use purge::{
    DryRun, InvalidationError, InvalidationReceipt, InvalidationRequest, Invalidators,
    LogInvalidator, SourceReceipts, TierMatches,
};
pub use renew::{Renewer, RowCatalogue};
pub use sample::LogSampler;
pub use schema::{SchemaDependent, warn_unfollowed};
pub use signatures::SignatureRefusals;
pub use standby::{StandbyMetrics, StandbyProbe, watch_standby};
pub use token::{IssuedToken, TokenError, TokenIssuer, TokenIssuers};
