//! Reads the bodies of requests within a bounded memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::problem;

/// The longest wait for a slot.
const SLOT_TIMEOUT: Duration = Duration::from_secs(10);

/// The bodies that are received at the same time, by kind. Each kind has a share of its own, so that unknown
/// senders can't keep known ones out.
#[derive(Debug)]
pub struct BodySlots {
    /// JSON of at most half a MiB.
    pub(crate) json: Slots,
    /// Posted events, of at most 16 MiB, whose sender has shown the secret.
    pub(crate) events: Slots,
    /// Posted events whose signature covers the body, so that it is checked after the body was received.
    pub(crate) signed_events: Slots,
}

impl Default for BodySlots {
    fn default() -> Self {
        Self { json: Slots::new(32), events: Slots::new(4), signed_events: Slots::new(4) }
    }
}

/// A number of bodies, of which one address may have half.
#[derive(Debug)]
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    per_address: usize,
    /// The slots of the addresses that have one, or wait for one.
    addresses: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

/// A slot of an address, and one of all.
#[derive(Debug)]
struct Slot {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Slots {
    fn new(all: usize) -> Self {
        let (per_address, all) = (all / 2, Arc::new(Semaphore::new(all)));
        Self { all, per_address, addresses: Mutex::default() }
    }

    /// Receives a body of at most `limit` bytes.
    ///
    /// # Errors
    /// The response: the body is too large, incomplete or too slow, or there is no slot.
    pub(crate) async fn receive(
        &self,
        from: IpAddr,
        body: Body,
        limit: usize,
    ) -> Result<Bytes, Response> {
        use axum::body::HttpBody as _;
        let too_large = || {
            let detail = format!("the body may have at most {limit} bytes");
            problem(StatusCode::PAYLOAD_TOO_LARGE, "Body too large", &detail)
        };
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let Some(_slot) = self.enter(from).await else {
            let detail = "too many bodies are being received; send this one again";
            return Err(problem(StatusCode::SERVICE_UNAVAILABLE, "Too many requests", detail));
        };
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(err) if err.is::<LengthLimitError>() => Err(too_large()),
            Err(err) => {
                let detail = format!("the body was not received: {err}");
                Err(problem(StatusCode::REQUEST_TIMEOUT, "Body incomplete", &detail))
            }
        }
    }

    async fn enter(&self, from: IpAddr) -> Option<Slot> {
        let own = self.own(from);
        let enter = async {
            let own = own.acquire_owned().await.ok()?;
            let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Slot { _own: own, _all: all })
        };
        tokio::time::timeout(SLOT_TIMEOUT, enter).await.ok()?
    }

    fn own(&self, from: IpAddr) -> Arc<Semaphore> {
        let mut addresses = self.addresses.lock();
        if let Some(own) = addresses.get(&from).and_then(Weak::upgrade) {
            return own;
        }
        addresses.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(self.per_address));
        addresses.insert(from, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_address_leaves_slots_to_others() {
        let slots = Slots::new(4);
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let first = slots.enter(address(1)).await.expect("free");
        let _second = slots.enter(address(1)).await.expect("free");
        assert!(slots.enter(address(1)).await.is_none(), "two of one address");
        let _other = slots.enter(address(2)).await.expect("free");
        drop(first);
        assert!(slots.enter(address(1)).await.is_some());
        assert!(slots.addresses.lock().len() <= 2);
    }
}
