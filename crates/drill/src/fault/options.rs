//! The faults of a connection.

use std::time::Duration;

/// The faults between a client and its server; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fault {
    /// The delay of each chunk of a response. Requests are not delayed.
    pub latency: Duration,
    /// The maximum of a random addition to the latency. The order of the bytes is kept.
    pub jitter: Duration,
    /// The limit for responses, in bytes per second and connection.
    pub bandwidth: Option<u64>,
    /// The number of response bytes, counted on each connection from the time of this setting, after
    /// which the client sees the end of the stream (FIN), as from a server that fails halfway.
    pub half_close_after: Option<u64>,
    /// Delivers no bytes in either direction, without an error. The bytes are delivered when this ends,
    /// as TCP does after a partition.
    pub black_hole: bool,
    /// Resets (RST) open and new connections.
    pub reset: bool,
}

impl Fault {
    /// Delays responses by `latency`.
    #[must_use]
    pub fn slow(latency: Duration) -> Self {
        Self { latency, ..Self::default() }
    }

    /// A partition: no bytes pass.
    #[must_use]
    pub fn black_hole() -> Self {
        Self { black_hole: true, ..Self::default() }
    }

    /// Resets every connection.
    #[must_use]
    pub fn reset() -> Self {
        Self { reset: true, ..Self::default() }
    }

    /// Ends responses after `bytes`.
    #[must_use]
    pub fn half_close_after(bytes: u64) -> Self {
        Self { half_close_after: Some(bytes), ..Self::default() }
    }
}
