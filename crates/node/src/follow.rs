//! From the log to the tiers: tracked tables, row changes to events, and the loop that applies them.

mod changed_tables;
mod coverage;
mod events;
mod follower;
mod metrics;
mod schema_record;
mod tables;

pub use changed_tables::ChangedTables;
pub use follower::{Follower, FollowerParts};
pub use metrics::FollowMetrics;
pub use tables::{key_columns, renewed_columns, scoped_contracts, tracked_tables};
