//! `tidegate.toml`: one module per section, parsed raw and then checked into types that can't be invalid.

mod audit;
mod checked;
mod duration;
mod edge;
mod error;
mod governor;
mod identifier;
mod listen;
mod local;
mod log;
mod raw;
mod region;
mod secret;
mod shared;
mod size;
mod source;
mod source_events;
mod suggest;
mod upstream;
pub(crate) mod url;

#[cfg(test)]
mod tests;

pub(crate) use checked::Config;
pub(crate) use error::ConfigError;
pub(crate) use governor::GovernorMode;
pub(crate) use listen::Listen;
pub(crate) use log::LogFormat;
pub(crate) use region::Regions;
pub(crate) use shared::Shared;
pub(crate) use source::Source;
pub(crate) use url::{SharedUrl, SourceUrl};
