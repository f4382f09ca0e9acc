//! The demo's stages: a shop, the systems in front of it, and the shop's history that answers are compared
//! with.

mod error;
mod node;
mod oracle;
mod rush;
mod source;
mod stage;
mod storm;

pub(crate) use rush::rush;
pub(crate) use source::{Source, bearable_rate, inventory};
pub(crate) use stage::Stage;
pub(crate) use storm::StormStage;
