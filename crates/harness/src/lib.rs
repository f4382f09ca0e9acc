//! Real servers for tests: PostgreSQL, MariaDB, Redis (with sentinels, and as a cluster, too) and nginx on
//! free ports with data folders of their own, a TCP proxy that misbehaves and a clock that jumps on command,
//! and a grip on any other process under test.
//!
//! Everything here blocks and is plain `std`, so that it serves synchronous tests, asynchronous
//! ones and benchmarks alike; call it before the first `await` that matters, or from
//! `spawn_blocking` where other tasks have to run meanwhile. Only [`FaultProxy`] has a runtime, its
//! own, on its own thread, so a test with a paused clock does not stop it.
//!
//! Nothing is shared between test processes but two things that are safe to share: templates of a
//! freshly initialised PostgreSQL and MariaDB (copied for each server) and the locks that keep two
//! processes from picking one port.
//!
//! Servers stop when their value is dropped, also when a test panics. If the test process itself
//! dies, the kernel kills them (`PR_SET_PDEATHSIG`, through `setpriv`).
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let postgres = harness::Postgres::start()?;
//! postgres.psql("create table products(id int primary key, name text)")?;
//! let redis = harness::Redis::start()?;
//! let slow = harness::FaultProxy::start(redis.addr())?;
//! slow.set(harness::Fault::slow(std::time::Duration::from_millis(500)));
//! # Ok(())
//! # }
//! ```

mod child;
mod clock;
mod cluster;
mod disk;
mod fault;
mod folder;
pub mod http;
mod mariadb;
mod nginx;
mod output;
mod port;
mod postgres;
mod process;
mod programs;
mod redis;
mod sentinels;
mod tls;
mod wait;

pub use clock::WallClock;
pub use cluster::Cluster;
pub use fault::{Fault, FaultProxy};
pub use mariadb::{MariaDb, MariaDbBuilder};
pub use nginx::{Nginx, Site};
pub use port::Port;
pub use postgres::{MayNotMount, Postgres, PostgresBuilder};
pub use process::{Process, ProcessBuilder};
pub use redis::{Redis, RedisBuilder};
pub use sentinels::Sentinels;
pub use tls::Certificates;
pub use wait::until;
