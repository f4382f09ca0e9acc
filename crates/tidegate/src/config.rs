//! `tidegate.toml`: one module per section, each of which reads its own table into types that can't be
//! invalid. All problems are reported at once, with the file, the line, the key and the remedy.

mod audit;
mod checked;
mod edge;
mod error;
mod file;
mod finding;
mod governor;
mod line_index;
mod listen;
mod local;
mod log;
mod node;
mod raw;
mod region;
mod shared;
mod source;
mod source_events;
mod syntax;
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
