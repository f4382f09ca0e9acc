//! Filters of absent ids in numbers. What they answered is in [`READS`](super::READS), with the
//! result `filtered`.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::{ContractLabel, Policy};
use crate::local::{FilterStanding, FilterState};

/// Readings of all ids by contract and how they ended: `stands`; `void` (the log said that anything may
/// have changed, or broke off), `failed` (the origin), `too-large` or `unfit` (the table).
pub const FILTER_READINGS: &str = "tidegate_absent_filter_readings";
/// Whether the filter of a contract answers: 0 no, 1 being read, 2 yes.
pub const FILTER_STATE: &str = "tidegate_absent_filter_state";
/// Ids that a contract's filter knows.
pub const FILTER_KEYS: &str = "tidegate_absent_filter_keys";
/// Bytes that a contract's filter takes.
pub const FILTER_BYTES: &str = "tidegate_absent_filter_bytes";

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OutcomeLabels {
    contract: Arc<str>,
    result: &'static str,
}

/// How a reading of all ids ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Outcome {
    Stands,
    Void,
    Failed,
    TooLarge,
    Unfit,
}

#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Filters {
    readings: Family<OutcomeLabels, Counter>,
}

impl Filters {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(FILTER_READINGS, "Readings of all ids", self.readings.clone());
    }

    pub(in crate::engine) fn made(&self, policy: &Policy, outcome: Outcome) {
        let result = match outcome {
            Outcome::Stands => "stands",
            Outcome::Void => "void",
            Outcome::Failed => "failed",
            Outcome::TooLarge => "too-large",
            Outcome::Unfit => "unfit",
        };
        let contract = Arc::clone(&policy.name);
        self.readings.get_or_create(&OutcomeLabels { contract, result }).inc();
    }
}

/// Writes the gauges of all filters.
pub(super) fn encode(
    filters: &[FilterStanding],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    type Read = fn(&FilterStanding) -> f64;
    let gauges: [(&str, &str, Read); 3] =
        [
            (FILTER_STATE, "Filters of absent ids: 0 void, 1 reading, 2 standing", |filter| {
                match filter.state {
                    FilterState::Void => 0.0,
                    FilterState::Reading => 1.0,
                    FilterState::Standing => 2.0,
                }
            }),
            (FILTER_KEYS, "Ids that a filter knows", |filter| filter.keys as f64),
            (FILTER_BYTES, "Bytes that a filter takes", |filter| filter.bytes as f64),
        ];
    for (name, help, read) in gauges {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for filter in filters {
            let label = ContractLabel { contract: Arc::clone(&filter.name) };
            ConstGauge::new(read(filter)).encode(family.encode_family(&label)?)?;
        }
    }
    Ok(())
}
