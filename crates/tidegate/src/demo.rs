//! The demo's stages: a shop, the systems in front of it, and the shop's history that answers are compared
//! with.

mod error;
mod node;
mod oracle;
mod stage;
mod storm;

pub(crate) use stage::{Stage, Traffic};
pub(crate) use storm::StormStage;
