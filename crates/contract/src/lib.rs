//! Staleness contracts: how stale the answers for one kind of data may be.
//!
//! A contract names one kind of data (`product_price`) and defines its keys, its origin, its budget, and
//! the action when freshness can't be proven. This crate parses the configuration into types that can't
//! be wrong ([`Contract`], [`Contracts`]), maps a committed row change to the keys and tags that it
//! invalidates ([`Contracts::affected`]), reviews contracts ([`lint()`]), and does the arithmetic of time
//! ([`freshness`]).
//!
//! It is pure: no I/O, no clock, no randomness. Callers pass them as arguments.
//!
//! Modules depend on each other in one direction, from right to left:
//! `config`, `naming` ← `model` ← `mapping` ← `section` ← `lint`; `config` ← `signing`.

pub mod config;
mod lint;
mod mapping;
mod model;
mod naming;
mod problem_details;
mod section;
mod signing;

pub use config::Problem;
pub use lint::{Finding, Severity, lint, lint_residency, lint_toml};
pub use mapping::affected::{Affected, Incomplete};
pub use mapping::change::Image;
pub use mapping::page_evidence::PageEvidence;
pub use mapping::projection::{Projected, Projection};
pub use mapping::relations::StatementNames;
pub use mapping::row::{Cell, JsonForm, JsonForms, Op, Row, RowChange};
pub use mapping::sql::{NumberedStatement, SqlDialect, number_parameters, replace_parameters};
pub use mapping::table::{MatchedColumns, TableColumn, TableMapping};
pub use mapping::text_form::{TextForm, TextForms};
pub use mapping::unwatched::{UnwatchedColumns, names_read};
pub use model::contract::{
    AbsentFilter, Approval, Class, Contract, Evidence, JoinedEntries, JoinedTable, Origin, Refresh,
    Sensitivity, Tiers, Unproven,
};
pub use model::contracts::{ContractError, Contracts};
pub use model::freshness::{self, TTL_CAP};
pub use model::residency::{TierRegions, parse_region, region_is_within};
pub use model::service::{HeaderText, Service, ServiceHeader, ServiceUrl};
pub use naming::digest::fnv1a;
pub use naming::id::IdKind;
pub use naming::item::Item;
pub use naming::key::{Key, KeyError};
pub use naming::pattern::{Pattern, PatternError};
pub use naming::percent;
pub use naming::sensitive_value::SensitiveValue;
pub use naming::table::{split_table_name, table_name};
pub use naming::tag::{Tag, TagError, TagTemplate};
pub use naming::template::{KeyTemplate, TemplateError};
pub use problem_details::ProblemDetails;
pub use section::choices::{CLASS_WORDS, UNPROVEN_WORDS};
pub use section::parse::survey_contract;
pub use section::preset::{Preset, Strictness, presets};
pub use section::reference::{KeyDoc, reference, reference_markdown};
pub use signing::{KeyId, Mac, MacError, RefusalReport, Refusals, SigningKeys, SigningKeysSource};
