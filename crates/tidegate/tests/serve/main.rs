//! `tidegate serve` as a user runs it: the binary on real databases and Redis.

mod absent;
mod audit;
mod audit_nodes;
mod batch;
mod cluster;
mod debezium;
mod faults;
mod keep;
mod mariadb;
mod nodes;
mod pages;
mod pricing;
mod renew;
mod ryw;
mod scenario;
mod schema;
mod sentinel;
mod service;
mod setup;
mod stack;
mod stalls;
mod standby;
mod upstream;
mod wildcards;
