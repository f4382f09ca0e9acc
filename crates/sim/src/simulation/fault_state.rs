//! The present state of all faults.

/// The faults of the network, the servers and the processes that are active now.
#[derive(Debug)]
pub(super) struct FaultState {
    pub(super) cut_shared: Vec<bool>,
    pub(super) cut_database: Vec<bool>,
    /// The end of each process's stop, in ns since the start of the run.
    pub(super) stopped_until: Vec<u64>,
    /// The generation of each node's process; a task of an earlier one gets no answers.
    pub(super) generations: Vec<u64>,
    /// Whether each node's stream is to break.
    pub(super) break_stream: Vec<bool>,
    /// The error of each node's wall clock, in µs.
    pub(super) wall_off: Vec<i64>,
    /// The generation of each node's connection to the database.
    pub(super) connections: Vec<u64>,
    /// The share of the shared tier's answers that are lost.
    pub(super) lost_answers: f64,
    /// The share of requests that a server, the database or the shared tier, answers with an error.
    pub(super) errors: f64,
    /// The largest delay of each message to or from the shared tier.
    pub(super) slow_shared_ms: u64,
    /// The longest time for which commits stay invisible.
    pub(super) hidden_ms: u64,
    /// Whether the log is not sent.
    pub(super) log_stalled: bool,
    /// The share of loads that fail.
    pub(super) bad_loads: f64,
    /// The longest duration of a load.
    pub(super) slow_loads_ms: u64,
    /// Whether the standby replays nothing.
    pub(super) replay_stalled: bool,
    /// The factor by which writers write more.
    pub(super) storm: f64,
}
