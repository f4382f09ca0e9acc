//! Budgets of the responses and uploads that clients keep open, in all and per client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use cache::Party;
use cache::admission::class_capacity;
use contract::Class;
use listen::ClientNetwork;
use parking_lot::Mutex;

use crate::settings::client_limits::BudgetLimits;
use crate::telemetry::metrics::BudgetMetrics;

/// The limit that a client meets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exhausted {
    Total,
    Client,
}

/// The state machine of a budget.
#[derive(Debug)]
struct Budget {
    limits: BudgetLimits,
    open: usize,
    clients: HashMap<Party, usize>,
}

impl Budget {
    fn new(limits: BudgetLimits) -> Self {
        Self { limits, open: 0, clients: HashMap::new() }
    }

    fn enter(&mut self, client: Party, class: Class) -> Result<(), Exhausted> {
        let of_client = self.clients.get(&client).copied().unwrap_or(0);
        if of_client >= self.limits.per_client {
            return Err(Exhausted::Client);
        }
        if self.open as f64 >= class_capacity(self.limits.total as f64, class) {
            return Err(Exhausted::Total);
        }
        self.open += 1;
        self.clients.insert(client, of_client + 1);
        Ok(())
    }

    fn leave(&mut self, client: Party) {
        self.open -= 1;
        if let Some(count) = self.clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&client);
            }
        }
    }
}

/// The slots of a budget. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    budget: Arc<Mutex<Budget>>,
    metrics: BudgetMetrics,
}

impl Slots {
    pub(crate) fn new(limits: BudgetLimits, metrics: BudgetMetrics) -> Self {
        metrics.limit(limits.total);
        Self { budget: Arc::new(Mutex::new(Budget::new(limits))), metrics }
    }

    /// Takes a slot for a client's message.
    pub(crate) fn take(&self, client: Party, class: Class) -> Result<Slot, Exhausted> {
        let taken = self.budget.lock().enter(client, class);
        taken.inspect_err(|exhausted| self.metrics.refused(exhausted.as_str(), class))?;
        self.metrics.open.inc();
        Ok(Slot { slots: self.clone(), client })
    }
}

impl Exhausted {
    /// The name in metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Client => "client",
        }
    }
}

/// A slot; freed when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Slots,
    client: Party,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.budget.lock().leave(self.client);
        self.slots.metrics.open.dec();
    }
}

/// The client at an address, as a party of the upstream's gate.
pub(crate) fn client_at(address: IpAddr) -> Party {
    Party(ClientNetwork::at(address).0)
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn client_leaves_slots_for_others() {
        let metrics = Metrics::new(&mut Registry::default());
        let limits = BudgetLimits { total: 10, per_client: 3 };
        let slots = Slots::new(limits, metrics.budget("responses"));
        let take = |client| slots.take(Party(client), Class::Critical);
        let mut taken: Vec<Slot> = (0..3).map(|_| take(1).expect("a slot")).collect();
        assert_eq!(take(1).expect_err("its own limit"), Exhausted::Client);
        taken.extend((2..9).map(|client| take(client).expect("a slot")));
        assert_eq!(take(9).expect_err("the limit of all"), Exhausted::Total);
        taken.pop();
        take(9).expect("a free slot");
        drop(taken);
        assert!(slots.budget.lock().clients.is_empty(), "nothing is left of clients that are gone");
        assert_eq!(slots.metrics.open.get(), 0);
    }

    #[test]
    fn lowest_class_refused_first() {
        let metrics = Metrics::new(&mut Registry::default());
        let limits = BudgetLimits { total: 10, per_client: 10 };
        let slots = Slots::new(limits, metrics.budget("uploads"));
        let mut taken = Vec::new();
        for (class, room) in [(Class::Ephemeral, 7), (Class::Standard, 2), (Class::Critical, 1)] {
            taken.extend((0..room).map(|_| slots.take(Party(1), class).expect("a slot")));
            assert!(slots.take(Party(2), class).is_err(), "{class:?}");
        }
    }
}
