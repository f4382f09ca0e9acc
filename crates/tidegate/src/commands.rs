//! One module per subcommand: its arguments and its run.

mod admin;
pub(crate) mod audit;
mod audit_log;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod purge;
pub(crate) mod sale;
mod sale_provider;
pub(crate) mod serve;
pub(crate) mod token;
