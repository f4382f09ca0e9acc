//! A model of the coherence protocol, explored with [`stateright`].
//!
//! The model calls the rules of [`coherence`] as the product does, and composes them as `cache` and
//! `feed` do: a database whose commits become visible later than they are written and may be lost in
//! a crash; a feed with its slot and its leader; one shared tier; nodes with in-process tiers, a
//! node stream and samples of the log's end; reads that take their token, their snapshot and their
//! place in the tiers one after the other. A [`scene`] limits how often each fault may happen; within
//! these limits *every* sequence of [`steps`] is explored, and in every state the [`invariants`] must
//! hold for every answer that the state allows. One invariant simulates a period without faults from
//! every state and requires that everything converges ([`invariants::CONVERGES`]).
//!
//! [`key_filter`], [`joined_tables`], [`lagging_service`], [`demoted_server`], [`two_logs`], [`two_sources`],
//! [`timed_values`],
//! [`mixed_contracts`], [`stock_holds`], [`job_leases`],
//! [`early_refusals`], [`checkout_payments`], [`cart_orders`] and [`gift_cards`] are small models of their own.
//!
//! **Time** is the number of changes of the snapshots' content: nothing else can tell two moments
//! apart as far as freshness goes. So an answer "as of t" is right if it includes every commit that was
//! visible by t and no commit that was lost by t. Leases have a clock of their own.
//!
//! **Not in the model:** the text of Redis's scripts and streams (tests of `cache` check them against
//! the rules), threads inside one process, expiry by TTL, and writes to two primaries at once during a
//! failover.

pub mod cart_orders;
pub mod checkout_payments;
pub mod composition;
pub mod database;
pub mod demoted_server;
pub mod early_refusals;
pub mod explore;
pub mod gift_cards;
pub mod invariants;
pub mod job_leases;
pub mod joined_tables;
pub mod key_filter;
pub mod keys;
pub mod lagging_service;
pub mod leader;
pub mod load;
pub mod mixed_contracts;
pub mod node;
pub mod scene;
pub mod scene_model;
pub mod scenes;
pub mod standby;
pub mod steps;
pub mod stock_holds;
pub mod tier;
pub mod timed_values;
pub mod two_logs;
pub mod two_sources;
pub mod world;
