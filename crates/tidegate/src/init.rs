//! A first configuration, proposed from the tables of a database. Pure: `commands/init.rs` reads and writes.

mod propose;
mod render;
mod sensitive_column;

pub(crate) use propose::{Engine, Proposal, propose};
pub(crate) use render::{Answers, render};
