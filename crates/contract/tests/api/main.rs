//! Contracts through the crate's public API.

mod affected;
mod joins;
mod keys;
mod parsing;
mod properties;
mod service;
