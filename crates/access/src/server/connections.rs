//! The open connections of a listener, in all and by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts connections. Clones share all state.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    total_max: usize,
    per_address_max: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One counted connection; it ends with this value.
#[derive(Debug)]
pub(super) struct Counted {
    address: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Connections {
    pub(super) fn new(total_max: usize, per_address_max: usize) -> Self {
        Self { total_max, per_address_max, open: Arc::default() }
    }

    /// Counts a connection; `None`: there are too many.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Counted> {
        let mut open = self.open.lock();
        let own = open.get(&address).copied().unwrap_or(0);
        if own >= self.per_address_max || open.values().sum::<usize>() >= self.total_max {
            return None;
        }
        open.insert(address, own + 1);
        drop(open);
        Some(Counted { address, open: Arc::clone(&self.open) })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(own) = open.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_limited_in_all_and_by_address() {
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let connections = Connections::new(3, 2);
        let first = connections.enter(address(1)).expect("free");
        let _second = connections.enter(address(1)).expect("free");
        assert!(connections.enter(address(1)).is_none(), "two of one address");
        let _third = connections.enter(address(2)).expect("free");
        assert!(connections.enter(address(3)).is_none(), "three in all");
        drop(first);
        assert!(connections.enter(address(3)).is_some());
    }
}
