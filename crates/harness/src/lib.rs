//! Real servers for tests: PostgreSQL, MariaDB, Redis (alone, with sentinels, as a cluster), nginx
//! and Pebble (a certificate authority), and an application behind a gateway, on free ports with data folders of their own; a wall clock that tests can shift, and control
//! of any other process under test. A TCP proxy with faults is in `drill`.
//!
//! All functions block and use plain `std`, so that they serve synchronous tests, asynchronous tests
//! and benchmarks alike. Call them before the first relevant `await`, or from `spawn_blocking` where
//! other tasks run meanwhile.
//!
//! Test processes share two things only: templates of a freshly initialised PostgreSQL and MariaDB
//! (copied for each server), and the locks that keep two processes from using one port.
//!
//! Servers stop when their value is dropped, also when a test panics. When the test process itself
//! dies, the kernel kills them (`PR_SET_PDEATHSIG`, through `setpriv`).
//!
//! Waits are for events. Their limits are generous, so that a busy machine fails no test.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let postgres = harness::Postgres::start()?;
//! postgres.psql("create table products(id int primary key, name text)")?;
//! let redis = harness::Redis::start()?;
//! redis.cli(&["set", "greeting", "hello"])?;
//! # Ok(())
//! # }
//! ```

mod application;
mod child;
mod clock;
mod cluster;
mod disk;
mod folder;
pub mod http;
mod mariadb;
mod nginx;
mod output;
mod pebble;
mod port;
mod postgres;
mod process;
mod programs;
mod redis;
pub mod routes;
mod sentinels;
mod server;
mod tls;
mod wait;

pub use application::Application;
pub use clock::WallClock;
pub use cluster::Cluster;
pub use disk::Disk;
pub use mariadb::{MariaDb, MariaDbBuilder};
pub use nginx::{Nginx, Site};
pub use pebble::{Pebble, PebbleBuilder};
pub use port::Port;
pub use postgres::{MountDenied, PgBouncer, Postgres, PostgresBuilder};
pub use process::{Process, ProcessBuilder};
pub use redis::{Redis, RedisBuilder};
pub use sentinels::Sentinels;
pub use tls::Certificates;
pub use wait::until;
