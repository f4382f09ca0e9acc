//! The metrics of key filters. Their answers are counted in [`READS`](super::READS) with the result
//! `filtered`.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::labels::ContractLabel;
use crate::engine::rules::Rules;
use crate::local::{FilterState, FilterStatus};

/// Key scans by contract and result: `stands` (the filter is ready), `void` (an event may have changed any
/// row, or the log had a gap), `failed` (the origin), `too-large` or `unfit` (the table).
pub const FILTER_READINGS: &str = "tidegate_absent_filter_readings";
/// State of a contract's filter: 0 void, 1 scanning, 2 ready.
pub const FILTER_STATE: &str = "tidegate_absent_filter_state";
/// Ids in a contract's filter.
pub const FILTER_KEYS: &str = "tidegate_absent_filter_keys";
/// Memory of a contract's filter, in bytes.
pub const FILTER_BYTES: &str = "tidegate_absent_filter_bytes";

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OutcomeLabels {
    contract: Arc<str>,
    result: &'static str,
}

/// The result of a key scan.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ScanResult {
    Ready,
    Void,
    Failed,
    TooLarge,
    Unsuitable,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct FilterMetrics {
    readings: Family<OutcomeLabels, Counter>,
}

impl FilterMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(FILTER_READINGS, "Key scans by result", self.readings.clone());
    }

    pub(crate) fn scanned(&self, rules: &Rules, outcome: ScanResult) {
        let result = match outcome {
            ScanResult::Ready => "stands",
            ScanResult::Void => "void",
            ScanResult::Failed => "failed",
            ScanResult::TooLarge => "too-large",
            ScanResult::Unsuitable => "unfit",
        };
        let contract = Arc::clone(&rules.name);
        self.readings.get_or_create(&OutcomeLabels { contract, result }).inc();
    }
}

/// Writes the gauges of all filters.
pub(super) fn encode(
    filters: &[FilterStatus],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    type Read = fn(&FilterStatus) -> f64;
    let gauges: [(&str, &str, Read); 3] =
        [
            (FILTER_STATE, "Filters of existing ids: 0 void, 1 scanning, 2 ready", |filter| {
                match filter.state {
                    FilterState::Void => 0.0,
                    FilterState::Scanning => 1.0,
                    FilterState::Ready => 2.0,
                }
            }),
            (FILTER_KEYS, "Ids in a filter", |filter| filter.keys as f64),
            (FILTER_BYTES, "Memory of a filter in bytes", |filter| filter.bytes as f64),
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
