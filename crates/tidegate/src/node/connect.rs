//! From configured addresses to connected parts.

mod database;
mod faces;
mod gateway;
mod shared_tier;
mod standbys;

pub(super) use database::database;
pub(super) use faces::{FilteredContract, filtered_contracts, services};
pub(super) use gateway::gateway;
pub(super) use shared_tier::shared_tier;
pub(super) use standbys::Standbys;
