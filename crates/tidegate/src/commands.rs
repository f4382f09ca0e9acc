//! One module per subcommand: its arguments and its run.

mod admin;
pub(crate) mod audit;
mod audit_log;
pub(crate) mod check;
pub(crate) mod completions;
mod config_args;
pub(crate) mod demo;
pub(crate) mod drill;
pub(crate) mod health;
pub(crate) mod init;
pub(crate) mod jobs;
pub(crate) mod man;
pub(crate) mod purge;
pub(crate) mod reload;
pub(crate) mod sale;
mod sale_audit;
mod sale_provider;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod token;
