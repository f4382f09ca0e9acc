//! One suite of tests for all ledgers: PostgreSQL on a real server, SQLite on a file. Every test ends with an audit
//! without findings, unless it plants one.

#![recursion_limit = "256"]

/// Makes a test of each case for both ledgers.
macro_rules! on_both_ledgers {
    ($($case:ident)*) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::fixture::Fixture::postgres().await.run(super::$case).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::fixture::Fixture::sqlite().await.run(super::$case).await;
            })*
        }
    };
}

mod audit;
mod carts;
mod checkouts;
mod concurrency;
mod differential;
mod early;
mod expiry;
mod fixture;
mod gifts;
mod holds;
mod jobs;
mod jobs_postgres;
mod jobs_sqlite;
mod keys;
mod migrations;
mod order_batches;
mod policies;
mod records;
