//! `tidegate serve` as a user runs it: the binary on real databases and Redis.

mod absent;
mod audit;
mod audit_nodes;
mod batch;
mod cluster;
mod debezium;
mod faults;
mod identity;
mod keep;
mod mariadb;
mod mixed_contracts;
mod nodes;
mod other_databases;
mod pages;
mod pricing;
mod renew;
mod ryw;
mod scenario;
mod sentinel;
mod service;
mod setup;
mod stack;
mod stalls;
mod standby;
mod upstream;
mod wildcards;
