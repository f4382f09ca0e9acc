//! Drills: real processes under faults, and an audit.

mod child;
mod fault;
mod node;
mod postgres;
mod provider;
mod round;
mod stage;

pub(crate) use self::postgres::PostgresPrograms;
pub(crate) use self::round::{Round, RoundResult};
pub(crate) use self::stage::{DrillLedger, SaleStage};
