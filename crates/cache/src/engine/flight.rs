//! One load per key in this process: whoever asks for a key that is being loaded waits for that
//! load.
//!
//! A flight is made by a task of its own, so that it outlives the reader who began it. Its pilot
//! takes the flight off the board when it is dropped, so that a panic strands nobody.

use std::collections::HashMap;
use std::sync::Arc;

use contract::Key;
use parking_lot::Mutex;
use tokio::sync::SetOnce;

use super::answer::ReadError;
use super::load::Landed;

/// How a flight ended.
pub(super) type Landing = Result<Landed, ReadError>;

/// The flights under way, by key.
#[derive(Clone, Default)]
pub(super) struct Board(Arc<Mutex<HashMap<Key, Passenger>>>);

/// Somebody who waits for a flight.
#[derive(Clone)]
pub(super) struct Passenger {
    landing: Arc<SetOnce<Landing>>,
    /// Whether nobody had asked for it when it began (an early refresh).
    pub(super) background: bool,
}

/// Whoever makes the flight.
pub(super) struct Pilot {
    board: Board,
    key: Key,
    landing: Arc<SetOnce<Landing>>,
}

impl Board {
    /// Whether the key is being loaded.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.0.lock().contains_key(key)
    }

    /// Joins the flight for `key`, or begins one.
    pub(super) fn join(&self, key: &Key, background: bool) -> (Passenger, Option<Pilot>) {
        let mut flights = self.0.lock();
        if let Some(passenger) = flights.get(key) {
            return (passenger.clone(), None);
        }
        let landing = Arc::new(SetOnce::new());
        let passenger = Passenger { landing: Arc::clone(&landing), background };
        flights.insert(key.clone(), passenger.clone());
        let pilot = Pilot { board: self.clone(), key: key.clone(), landing };
        (passenger, Some(pilot))
    }
}

impl Pilot {
    /// Ends the flight. Who asks from now on finds what was stored, or begins another.
    pub(super) fn land(self, landing: Landing) {
        self.board.0.lock().remove(&self.key);
        let _ = self.landing.set(landing);
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        if !self.landing.initialized() {
            self.board.0.lock().remove(&self.key);
            let _ = self.landing.set(Err(ReadError::Aborted));
        }
    }
}

impl Passenger {
    /// Waits for the landing.
    pub(super) async fn landing(&self) -> Landing {
        self.landing.wait().await.clone()
    }
}
