//! The demo's stage: a shop, four ways to stand before it, and the truth that judges them.

mod stage;
mod truth;

pub(crate) use stage::{Stage, Traffic};
