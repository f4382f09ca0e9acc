//! One module per subcommand: its arguments and its run.

pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod demo;
mod no_answer;
pub(crate) mod purge;
pub(crate) mod sale;
pub(crate) mod serve;
