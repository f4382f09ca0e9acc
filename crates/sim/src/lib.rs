//! A [`model`] of the coherence protocol, explored with [`stateright`], and a [`simulation`] of whole
//! clusters of the product's own engine and loops on virtual time. For tests only, never shipped.
//!
//! | tests | subject |
//! |---|---|
//! | `tests/protocol/explore.rs` | every scene of the model holds |
//! | `tests/protocol/rules.rs` | no rule can be omitted ([`coherence::Rule`], [`model::composition::CompositionRule`]): the checker prints the shortest path to a wrong answer |
//! | `tests/protocol/key_filter.rs` | the same for key filters, with a [model of its own](model::key_filter) |
//! | `tests/protocol/lagging_service.rs` | the same for loads from services that lag, with a [model of its own](model::lagging_service) |
//! | `tests/protocol/timed_values.rs` | the same for values that change by the clock, with a [model of its own](model::timed_values) |
//! | `tests/protocol/two_logs.rs` | the same for two databases on one tier, with a [model of its own](model::two_logs) |
//! | `tests/protocol/mixed_contracts.rs` | the same for leaders with different contracts, with a [model of its own](model::mixed_contracts) |
//! | `tests/protocol/early_refusals.rs` | the same for the fast counter of the sale, with a [model of its own](model::early_refusals) |
//! | `tests/protocol/stock_holds.rs` | the same for the ledger of the sale, with a [model of its own](model::stock_holds) |
//! | `tests/protocol/job_leases.rs` | the same for jobs, with a [model of its own](model::job_leases) |
//! | `tests/protocol/checkout_payments.rs` | the same for checkouts and payments, with a [model of its own](model::checkout_payments) |
//! | `tests/protocol/cart_orders.rs` | the same for carts, with a [model of its own](model::cart_orders) |
//! | `tests/protocol/gift_cards.rs` | the same for gift cards, with a [model of its own](model::gift_cards) |
//! | `tests/protocol/findings.rs` | faults that the checker found in the first composition of the protocol, and their corrections ([`model::scene::Design`]) |
//! | `tests/protocol/simulation.rs` | simulated clusters keep every promise, seeds repeat, and omitted rules are detected |
//! | `tests/protocol/pictures.rs` | the pictures of `docs/coherence.md` show the present behaviour of the engine |
//!
//! ```text
//! cargo test -p sim -- --nocapture                  states, steps and time of each scene, with traces
//! cargo test --release -p sim --test protocol explore -- --ignored --nocapture
//!                                                   larger scenes; SCENE=crash STEPS=50000000
//! ```

pub mod model;
pub mod simulation;
