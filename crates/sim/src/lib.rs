//! A model of the coherence protocol, explored with [`stateright`], and whole clusters of the product's
//! own engine on virtual time ([`simulation`]). For tests only, never shipped.
//!
//! # The model
//!
//! The model calls the rules of [`coherence`] as the product does, and composes them as `cache` and
//! `feed` do: a database whose commits become visible later than they are written and may be lost in
//! a crash; a feed with its slot and its leader; one shared tier; nodes with in-process tiers, a
//! node stream and samples of the log's end; reads that take their token, their snapshot and their
//! place in the tiers one after the other. A [`scene`](scenes) says how often each thing may happen;
//! within that *every* order of steps is visited, and in every state the [`invariants`] must hold
//! for every answer that could be given in it. One of them plays a time without faults from every
//! state and demands that everything converges ([`invariants::HEALS`]).
//!
//! | tests | say |
//! |---|---|
//! | `tests/explore.rs` | every scene holds |
//! | `tests/rules.rs` | no rule can be left out ([`coherence::Rule`], [`habit::Habit`]): the checker prints the shortest way to a wrong answer |
//! | `tests/absence.rs` | the same of the register of keys, by a [model of its own](absence) |
//! | `tests/service.rs` | the same of loads from services that lag, by a [model of its own](service) |
//! | `tests/simulation.rs` | simulated clusters hold, seeds repeat, and rules that are left out are missed |
//! | `tests/pictures.rs` | the pictures of `docs/coherence.md` are what the engine does |
//! | `tests/findings.rs` | what was found in the protocol as it was composed, and what mends it ([`scene::Design`]) |
//!
//! ```text
//! cargo test -p sim -- --nocapture                  states, steps and time of each, with traces
//! cargo test --release -p sim --test explore -- --ignored --nocapture
//!                                                   larger scenes; SCENE=crash STEPS=50000000
//! ```
//!
//! **Time** is the number of changes of what snapshots see: nothing else can tell two moments apart
//! as far as freshness goes. So an answer "as of t" is right if it holds every commit that was seen
//! by t and nothing that was lost by t. Leases have a clock of their own.
//!
//! **What is not in it:** the text of Redis's scripts and streams (held to the rules by tests of
//! `cache`), threads inside one process, expiry by TTL, writes during a failover to two primaries
//! at once, and standbys as origins.

pub mod absence;
pub mod database;
pub mod habit;
mod heal;
pub mod invariants;
pub mod leader;
pub mod load;
pub mod model;
pub mod names;
pub mod node;
pub mod run;
pub mod scene;
pub mod scenes;
pub mod service;
pub mod simulation;
pub mod standby;
pub mod tier;
pub mod world;
