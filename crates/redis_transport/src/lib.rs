//! Connections to Redis or Valkey: one server, the primary that sentinels know, or a cluster.
//!
//! A [`Router`] sends scripts and commands to the server that has their keys. It finds the primaries, follows
//! failovers and slot moves, connects again, and reports within a time limit why a call failed. The user of
//! this crate brings the scripts ([`ScriptSet`]) and the keys ([`Bucket`]). Each new connection is checked
//! before its first call: version, eviction policy, role, and the rights of the ACL user ([`acl`]).
//!
//! This crate does not know the meaning of the keys and values that it carries.

pub mod acl;
mod call;
mod cluster;
mod credentials;
mod endpoint;
mod error;
mod metrics;
mod preflight;
mod primary;
mod redirect;
mod router;
mod script_set;
mod sentinel;
mod server;
mod slot;
mod timeout;

pub use self::call::Call;
pub use self::credentials::{RedisLogin, RedisTls};
pub use self::endpoint::Endpoint;
pub use self::error::TransportError;
pub use self::metrics::TransportMetrics;
pub use self::primary::Connected;
pub use self::router::{Router, RouterConfig};
pub use self::script_set::ScriptSet;
pub use self::slot::{Bucket, SLOTS, crc16, hash_slot};
pub use self::timeout::{reply_within, timeout_with_grace};
