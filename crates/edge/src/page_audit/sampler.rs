//! The choice of pages to compare: the next hit after the auditor has asked for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cache::LocalEntry;
use contract::{Evidence, Key};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use tokio::sync::mpsc;

use crate::http::encodings::Encodings;
use crate::http::target::Scheme;
use crate::settings::routes::Route;

/// A stored page that was served to a client.
pub(crate) struct PageSample {
    pub(crate) key: Key,
    pub(crate) entry: LocalEntry,
    pub(crate) route: Arc<Route>,
    pub(crate) evidence: Evidence,
    pub(crate) scheme: Scheme,
    pub(crate) host: HeaderValue,
    pub(crate) target: PathAndQuery,
    pub(crate) encodings: Encodings,
    /// The headers of its request that are in its key.
    pub(crate) headers: HeaderMap,
}

/// Hands pages to the auditor, one at a time. A hit that is not chosen costs one load of a flag.
pub(crate) struct PageSampler {
    is_wanted: AtomicBool,
    samples: mpsc::Sender<PageSample>,
}

impl PageSampler {
    pub(super) fn new() -> (Self, mpsc::Receiver<PageSample>) {
        let (samples, receiver) = mpsc::channel(1);
        (Self { is_wanted: AtomicBool::new(false), samples }, receiver)
    }

    /// Asks for the next page.
    pub(super) fn request(&self) {
        self.is_wanted.store(true, Ordering::Relaxed);
    }

    /// Takes the page that `sample` returns, if one is wanted. `None` leaves the choice to the next hit.
    pub(crate) fn offer(&self, sample: impl FnOnce() -> Option<PageSample>) {
        if self.is_wanted.load(Ordering::Relaxed)
            && let Some(sample) = sample()
            && self.is_wanted.swap(false, Ordering::Relaxed)
        {
            // A full queue means that another page was chosen at the same time.
            let _ = self.samples.try_send(sample);
        }
    }
}
