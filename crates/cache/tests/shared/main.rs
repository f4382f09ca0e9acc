//! The shared tier, held to one suite: the embedded one, and a real Redis.

mod differential;
mod rig;
mod room;
mod suite;
mod wildcards;

mod redis;
