//! One suite for all shared tiers: the embedded one, a real Redis and a real cluster.

mod differential;
mod rig;
mod suite;
mod tombstone_limit;
mod wildcards;

mod redis;
