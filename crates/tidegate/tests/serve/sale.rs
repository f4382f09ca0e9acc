//! The sale through HTTP: the binary on a real PostgreSQL, under load and faults. Every test ends with
//! `tidegate sale audit` over all holds that clients were told of.

mod access;
mod api;
mod checkout;
mod clients;
mod command;
mod described;
mod document;
mod faults;
mod jobs;
mod load;
mod lossy;
mod openapi;
mod stand;
