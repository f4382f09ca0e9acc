//! From configured addresses to connected parts.

mod contracts;
mod database;
mod gateway;
mod sale;
mod shared_tier;
mod standbys;
mod upstream;

pub(super) use contracts::{FilteredContract, filtered_contracts, services};
pub(super) use database::{Changes, Database, database, resolve_tables};
pub(super) use gateway::gateway;
pub(super) use sale::sale;
pub(super) use shared_tier::{is_away, reachable_shared_tier, shared_tier};
pub(super) use standbys::Standbys;
pub(super) use upstream::reach_upstream;
