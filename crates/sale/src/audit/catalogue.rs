//! The invariants of a sale, and the checks that hold each of them.

/// The record that a check needs beside the database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Evidence {
    /// The database alone.
    Database,
    /// The record of clients.
    Clients,
    /// A record of clients that has every request.
    AllClients,
    /// The provider's ledger.
    Provider,
}

/// An invariant of a sale.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// Its number in the list of all.
    pub number: u32,
    /// Its meaning.
    pub meaning: &'static str,
    /// The names of its checks, each with the evidence that it needs.
    pub checks: &'static [(&'static str, Evidence)],
    /// Why a part of it can't be broken here, or is not checked; empty: all of it is.
    pub rest: &'static str,
}

use Evidence::{AllClients, Clients, Database, Provider};

const fn promise(
    number: u32,
    meaning: &'static str,
    checks: &'static [(&'static str, Evidence)],
) -> Promise {
    Promise { number, meaning, checks, rest: "" }
}

const fn absent(number: u32, meaning: &'static str, rest: &'static str) -> Promise {
    Promise { number, meaning, checks: &[], rest }
}

/// All invariants, by number.
pub const PROMISES: [Promise; 27] = [
    promise(1, "no oversell beyond the policy", &[("no-oversell", Database)]),
    promise(
        2,
        "counters, movements and holds add up",
        &[
            ("counters-are-the-ledger", Database),
            ("counters-are-the-holds", Database),
            ("movements-have-stock", Database),
            ("gift-cards-are-the-movements", Database),
            ("acknowledged-adjustments-exist", Clients),
        ],
    ),
    promise(
        3,
        "no counter or balance was ever negative",
        &[("never-negative", Database), ("gift-cards-are-never-negative", Database)],
    ),
    promise(
        4,
        "one end per hold",
        &[
            ("one-end-per-hold", Database),
            ("holds-expire", Database),
            ("acknowledged-ends-are-recorded", Clients),
        ],
    ),
    promise(
        5,
        "no confirmation after the deadline, no early expiry",
        &[("ends-by-the-deadline", Database)],
    ),
    promise(
        6,
        "limits of customers",
        &[("customer-limit", Database), ("customer-units-are-the-holds", Database)],
    ),
    promise(
        7,
        "acknowledged effects survive",
        &[
            ("acknowledged-holds-exist", Clients),
            ("acknowledged-orders-exist", Clients),
            ("acknowledged-payments-are-recorded", Clients),
            ("orders-have-sold-holds", Database),
        ],
    ),
    promise(
        8,
        "no effect without a request",
        &[
            ("holds-have-lines-and-keys", Database),
            ("lines-have-holds", Database),
            ("holds-were-asked-for", AllClients),
            ("orders-were-asked-for", AllClients),
        ],
    ),
    promise(
        9,
        "one effect and one answer per key, one order per hold and cart",
        &[
            ("one-effect-per-key", Database),
            ("keys-have-effects", Database),
            ("one-answer-per-key", Clients),
            ("one-request-per-key", Clients),
            ("one-order-per-hold", Clients),
            ("carts-got-one-order", Clients),
            ("one-order-per-cart", Database),
            ("one-hold-per-cart", Database),
            ("carts-have-their-holds", Database),
        ],
    ),
    promise(10, "a refusal for lack of stock was true", &[("sold-out-is-true", Clients)]),
    Promise {
        number: 11,
        meaning: "no unit leaks",
        checks: &[
            ("counters-are-the-holds", Database),
            ("holds-expire", Database),
            ("sold-out-is-true", Clients),
        ],
        rest: "a unit that no hold has is available, and a refusal while it is would be a finding",
    },
    promise(
        12,
        "one capture per order",
        &[
            ("one-capture-per-order", Database),
            ("one-capture-at-the-provider", Provider),
            ("customers-are-charged-once", Provider),
        ],
    ),
    promise(
        13,
        "amounts and currencies agree",
        &[
            ("amounts-are-the-attempts", Database),
            ("gift-parts-are-the-movements", Database),
            ("money-agrees", Provider),
        ],
    ),
    promise(
        14,
        "money is for orders",
        &[("takes-are-for-orders", Database), ("captures-have-orders", Provider)],
    ),
    promise(
        15,
        "orders are paid, and no reservation is stranded",
        &[
            ("orders-are-authorised", Database),
            ("gift-parts-are-moved-once", Database),
            ("orders-have-payments", Provider),
            ("authorisations-are-not-stranded", Provider),
        ],
    ),
    promise(
        16,
        "outcomes are known, and refunds are within captures",
        &[("ended-attempts-are-known", Database), ("refunds-within-captures", Provider)],
    ),
    promise(17, "legal transitions only", &[("transitions-are-legal", Database)]),
    Promise {
        number: 18,
        meaning: "events are complete and in order",
        checks: &[("events-are-complete", Database)],
        rest: "the effect at a reader of events is the reader's own",
    },
    promise(19, "every checkout ends", &[("checkouts-end", Database)]),
    promise(
        20,
        "jobs are conserved",
        &[("jobs-are-conserved", Database), ("dead-letters-are-kept-once", Database)],
    ),
    promise(
        21,
        "leases are exclusive, and attempts bounded",
        &[
            ("leases-are-exclusive", Database),
            ("leases-run-out-before-recovery", Database),
            ("attempts-are-bounded", Database),
            ("expired-jobs-do-not-run", Database),
            ("attempts-start-when-due", Database),
        ],
    ),
    absent(
        22,
        "lanes of jobs are bounded",
        "delays are figures: `tidegate jobs list` and the metrics",
    ),
    absent(23, "admission within its rate", "there is no waiting room before the sale"),
    promise(24, "a refused request has no effect", &[("refusals-have-no-effect", Clients)]),
    Promise {
        number: 25,
        meaning: "losing the fast counter oversells nothing",
        checks: &[("no-oversell", Database), ("counters-are-the-ledger", Database)],
        rest: "the counter is in the memory of a node and only refuses: a killed node loses it",
    },
    absent(26, "the kill switch ends new holds", "there is no kill switch of the sale"),
    Promise {
        number: 27,
        meaning: "queued payments are settled or released",
        checks: &[("checkouts-end", Database), ("authorisations-are-not-stranded", Provider)],
        rest: "calls that an open breaker refused leave no record",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn promises_are_numbered_and_explained() {
        for (number, promise) in (1..).zip(&PROMISES) {
            assert_eq!(promise.number, number);
            assert!(!promise.checks.is_empty() || !promise.rest.is_empty(), "{number}");
        }
    }

    #[test]
    fn every_query_holds_a_promise() {
        let checks: BTreeSet<&str> = PROMISES
            .iter()
            .flat_map(|promise| promise.checks)
            .filter(|(_, evidence)| *evidence == Database)
            .map(|(name, _)| *name)
            .collect();
        let queries: BTreeSet<&str> =
            crate::invariants::names().chain(crate::job_invariants::names()).collect();
        assert_eq!(checks, queries);
    }
}
