//! `tidegate.toml`. The crate whose settings a section makes reads it into types that can't be invalid; the
//! sections that belong to several crates, and those of the program itself, are read here. All problems are
//! reported at once, with the file, the line, the key and the remedy.

mod checked;
mod environment;
mod error;
mod file;
mod finding;
mod line_index;
mod listen;
mod listen_tls;
mod log;
mod name_lines;
mod node;
mod raw;
mod reference;
mod region;
mod schema;
mod secrets;
mod settings;
mod source;
mod source_events;
mod syntax;
mod url;

#[cfg(test)]
mod options_tests;
#[cfg(test)]
mod secret_tests;
#[cfg(test)]
mod tests;

pub(crate) use checked::Config;
pub(crate) use error::ConfigError;
pub(crate) use finding::Findings;
pub(crate) use listen::Listen;
pub(crate) use listen_tls::ListenerTls;
pub(crate) use log::LogFormat;
pub(crate) use region::Regions;
pub(crate) use schema::schema;
pub(crate) use settings::Settings;
pub(crate) use source::Source;
