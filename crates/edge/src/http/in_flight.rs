//! Guards that a message holds until its body ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Activity of one client connection.
#[derive(Debug, Default)]
pub(crate) struct ConnectionActivity {
    started: AtomicU64,
    in_flight: AtomicUsize,
}

impl ConnectionActivity {
    /// Counts a request whose head has arrived.
    pub(crate) fn request_started(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of requests whose head has arrived since the connection was accepted.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// Whether no request is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
    }
}

/// A client's request in flight. Its connection is not idle while the guard exists.
#[derive(Debug)]
pub(crate) struct ClientRequest(Arc<ConnectionActivity>);

impl ClientRequest {
    pub(crate) fn new(activity: &Arc<ConnectionActivity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for ClientRequest {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request in flight at the upstream. Dropping the permit frees its slot.
#[derive(Debug)]
pub(crate) struct UpstreamPermit(Arc<AtomicUsize>);

impl UpstreamPermit {
    /// Takes a slot, if fewer than `capacity` are taken.
    pub(crate) fn acquire(in_flight: &Arc<AtomicUsize>, capacity: usize) -> Option<Self> {
        let next = |taken: usize| (taken < capacity).then_some(taken + 1);
        in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).ok()?;
        Some(Self(Arc::clone(in_flight)))
    }
}

impl Drop for UpstreamPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
