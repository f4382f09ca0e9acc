//! The metrics of the in-process tier's memory pools.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::local::{POOLS, PoolStatus};

/// Bytes in the in-process tier by pool.
pub const POOL_BYTES: &str = "tidegate_pool_bytes";
/// Bytes that each pool is assured of.
pub const POOL_ASSURED_BYTES: &str = "tidegate_pool_assured_bytes";
/// Entries in the in-process tier by pool.
pub const POOL_ENTRIES: &str = "tidegate_pool_entries";
/// Entries evicted for lack of memory, by pool.
pub const POOL_EVICTIONS: &str = "tidegate_pool_evictions";

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PoolLabel {
    pool: &'static str,
}

/// Name, help and value of one metric of a pool.
type PoolMetric = (&'static str, &'static str, fn(&PoolStatus) -> u64);

const GAUGES: [PoolMetric; 3] = [
    (POOL_BYTES, "Bytes in the in-process tier by pool", |pool| pool.bytes),
    (POOL_ASSURED_BYTES, "Bytes that a pool is assured of", |pool| pool.assured_bytes),
    (POOL_ENTRIES, "Entries in the in-process tier by pool", |pool| pool.entries),
];

pub(super) fn encode(
    pools: &[PoolStatus; 3],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let labelled = || POOLS.iter().map(|(_, name)| PoolLabel { pool: name }).zip(pools);
    for (name, help, value) in GAUGES {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (label, pool) in labelled() {
            ConstGauge::new(value(pool) as f64).encode(family.encode_family(&label)?)?;
        }
    }
    let help = "Entries evicted for lack of memory, by pool";
    let mut family = encoder.encode_descriptor(POOL_EVICTIONS, help, None, MetricType::Counter)?;
    for (label, pool) in labelled() {
        ConstCounter::new(pool.evictions).encode(family.encode_family(&label)?)?;
    }
    Ok(())
}
