//! The protocol: explored by the model checker, and run by simulated clusters.

mod cart_orders;
mod checkout_payments;
mod demoted_server;
mod early_refusals;
mod explore;
mod findings;
mod gift_cards;
mod job_leases;
mod joined_tables;
mod key_filter;
mod lagging_service;
mod mixed_contracts;
mod pictures;
mod rules;
mod simulation;
mod stock_holds;
mod timed_values;
mod two_logs;
mod two_sources;
