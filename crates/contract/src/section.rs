//! The `[data]` section of the configuration: its keys, presets, parser and printer.

pub(crate) mod choices;
pub(crate) mod parse;
pub(crate) mod parse_from;
pub(crate) mod parse_service;
pub(crate) mod preset;
pub(crate) mod print;
pub(crate) mod reference;
