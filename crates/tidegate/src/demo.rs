//! The demo's stages: a shop, ways to stand before it, and the truth that judges them.

mod node;
mod stage;
mod storm;
mod truth;

pub(crate) use stage::{Stage, Traffic};
pub(crate) use storm::StormStage;
