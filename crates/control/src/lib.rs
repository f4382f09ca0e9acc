//! The control room: health, metrics, the journal of invalidations, and the admin API.
//!
//! Nothing here is needed for an answer: with this crate's listener down, every face still works.

pub mod admin;
pub mod events;
pub mod health;
pub mod inspect;
pub mod journal;
pub mod order;
pub mod token;

pub use admin::{Admin, router, serve};
pub use events::{Events, EventsError, EventsIn, Secret};
pub use health::{Component, Health};
pub use journal::{Journal, Record};
pub use order::{DryRun, Order, OrderError, Orders, Reach, Receipt};
pub use token::{NoToken, Token, Tokens};
