//! The same suite for every feed, on real databases, and what is particular to each.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod follow;
mod lab;
mod mariadb;
mod mariadb_setup;
mod measure;
mod postgres;
mod postgres_setup;
mod sqlite;
mod suite;
