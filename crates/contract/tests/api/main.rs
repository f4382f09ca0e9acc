//! Contracts through the crate's public API.

mod affected;
mod keys;
mod parsing;
mod properties;
mod service;
