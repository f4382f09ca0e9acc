//! The memory of this process, as the kernel counts it.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// Name of the gauge of [`resident_bytes`].
pub const RESIDENT_BYTES: &str = "tidegate_process_resident_bytes";

/// Returns the resident memory of this process in bytes; `None`: this system does not state it.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    resident_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Reads the resident memory in the text of `/proc/PID/status`.
fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// Shows [`resident_bytes`] at the time of a collection, where it is known.
#[derive(Debug)]
pub struct ProcessMemory;

impl Collector for ProcessMemory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(bytes) = resident_bytes() else { return Ok(()) };
        let help = "Resident memory of the process, as the kernel counts it";
        let gauge = ConstGauge::new(bytes as f64);
        gauge.encode(encoder.encode_descriptor(RESIDENT_BYTES, help, None, MetricType::Gauge)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_read_or_unknown() {
        let text = "Name:\ttidegate\nVmPeak:\t  900 kB\nVmRSS:\t    1234 kB\nThreads:\t3\n";
        assert_eq!(resident_in(text), Some(1_234 << 10));
        for text in
            ["", "VmRSS:", "VmRSS:\t12 MB", "VmRSS:\t-1 kB", "VmRSS:\t18446744073709551615 kB"]
        {
            assert_eq!(resident_in(text), None, "{text}");
        }
    }
}
