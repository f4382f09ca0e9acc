//! A deterministic simulation of whole clusters: the product's own engine, loops, tiers and rules
//! on virtual time, a virtual network and a virtual database, with faults planned from a seed.
//!
//! A seed determines a cluster and its history. [`run()`] creates the cluster, starts readers, writers and
//! faults, ends the faults, and checks every answer against the recorded history:
//!
//! 1. no answer is staler than its bound;
//! 2. no answer is older than its contract allows, unless it is marked as stale and the contract permits
//!    that;
//! 3. no answer from a tier misses a commit that this tier has applied, and none misses a commit up to its
//!    reported version;
//! 4. after the faults every tier converges: reads return the present value, proven within two seconds, and
//!    it is stored; and no component of a node is reported as failed;
//! 5. no answer to a causal token misses the write;
//! 6. nothing panics, and every read ends in time;
//! 7. before the first fault, a cold key is loaded once in the whole cluster; at all times a key's lease
//!    has one holder, no other load stores under it, and the version of an entry never decreases;
//! 8. in runs without faults (one seed in twenty), every read is answered, and proven within two seconds.
//!
//! A run is single-threaded and draws all its random numbers from the seed, so the same seed yields the
//! same events to the byte ([`Outcome::digest`]). `src/bin/simulate.rs` runs many seeds.
//!
//! **Real:** `cache::Engine` with its in-process tier, single flights, leases and gates; `cache::leader`;
//! the state of the embedded shared tier; the loops of `node`: follower with contracts and renewals, sampler,
//! standby watch, purge requests, health; from `feed` the election of the leader and the session of a
//! PostgreSQL stream; all of `coherence`. **Virtual:** time, the network, the database with its log, snapshots,
//! slot and standby, the attempts to acquire the slot, processes. **Not simulated:** sockets and SQL, Redis's
//! scripts and streams, the gateway, threads.

mod checks;
mod clocks;
mod cluster;
mod commits;
mod contracts;
mod database;
mod environment;
mod fault_state;
mod faults;
mod key_scan;
mod log_source;
mod node;
mod outcome;
mod pictures;
mod recorder;
mod rows;
mod rows_origin;
mod run;
mod schema;
mod setup;
mod shared_remote;
mod shared_server;
mod slot_candidate;
mod slot_stream;
mod standby;
mod standby_origin;
mod tally;
mod trace;
mod traffic;
mod values;

pub use self::outcome::{Options, Outcome};
pub use self::pictures::{Picture, pictures};
pub use self::run::{fault_kinds, run};
pub use self::tally::Tally;
