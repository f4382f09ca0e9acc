//! A cluster: the connections to its shards, and the task that knows which shard has which slot.
//!
//! Slots move, by a failover or by an operator. A node that does not have a slot replies with the one
//! that has it (`MOVED`); a node that is exporting a slot replies with the importing node (`ASK`); and
//! while a part of a bucket is on either node no script can run on it (`TRYAGAIN`): then the call is
//! repeated until its time limit. The task asks all nodes once a second, and whenever an error
//! contradicts the known topology. Replicas are never read.

mod handle;
mod nodes;
mod shards;
mod slot_map;
mod topology;
mod watcher;

pub(crate) use self::handle::{Cluster, ClusterConfig};
