//! Staleness contracts: who may see what how old, and who said so.
//!
//! A contract names one kind of data (`product_price`), how its entries are keyed, where they come
//! from, how stale an answer may be and what to do when freshness can't be proven. This crate turns
//! the TOML into types that can't be wrong ([`Contract`], [`Contracts`]), maps a committed row
//! change to the keys and tags it touches ([`Contracts::affected`]), reviews a set of contracts
//! ([`lint`]) and does the arithmetic of time ([`freshness`]).
//!
//! It is pure: no I/O, no clock, no randomness. What varies comes in as an argument.

pub mod freshness;
mod lint;

mod affected;
mod contract;
mod fields;
mod key;
mod keys;
mod lookalike;
mod pattern;
mod preset;
mod projection;
mod residency;
mod row;
mod service;
mod set;
mod sql;
mod tag;
mod template;
mod toml_in;
mod toml_out;

pub use affected::{Affected, Image, Incomplete};
pub use contract::{
    AbsentFilter, Approval, Class, Contract, Evidence, IdKind, Origin, Refresh, Sensitivity,
    TTL_CAP, Tiers, Unproven,
};
pub use key::{Key, KeyError};
pub use keys::{KeyDoc, reference, reference_markdown};
pub use lint::{Finding, Severity, lint, lint_toml};
pub use lookalike::LookAlike;
pub use pattern::{Pattern, PatternError};
pub use preset::{Preset, Strictness, presets};
pub use projection::{Projection, Renewed};
pub use residency::{Places, is_region, lies_in, lint_residency};
pub use row::{Cell, Forms, JsonForm, Op, Row, RowChange};
pub use service::{HeaderText, Service, ServiceHeader, ServiceUrl};
pub use set::Contracts;
pub use sql::{Numbered, filled, numbered};
pub use tag::{Tag, TagError, TagTemplate};
pub use template::{KeyTemplate, TemplateError};
pub use toml_in::{ContractError, Problem};
