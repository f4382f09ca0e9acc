//! The demo's stages: a shop, the systems in front of it, and the shop's history that answers are compared
//! with.

mod error;
mod node;
mod stage;
mod storm;
mod truth;

pub(crate) use stage::{Stage, Traffic};
pub(crate) use storm::StormStage;
