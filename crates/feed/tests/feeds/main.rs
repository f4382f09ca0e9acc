//! One suite for every feed on real databases, and tests particular to each.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod fixture;
mod mariadb;
mod mariadb_setup;
mod measure;
mod postgres;
mod postgres_computed;
mod postgres_releases;
mod postgres_schema;
mod postgres_setup;
mod reader;
mod sqlite;
mod sqlite_schema;
mod suite;
