//! The rules of stock, holds and checkouts, as pure functions: no I/O, no clock, no randomness.
//!
//! The SQLite ledger calls them. PostgreSQL's functions decide by the same rules where the data is, in one call
//! for a batch; tests run both ledgers side by side and require the same outcomes. The models of the crate `sim`
//! call them too.

mod cart;
mod checkout;
mod early_refusal;
mod gift;
mod hold;
mod job;
mod job_class;
mod job_segment;
mod key;
mod phase;
mod price;
mod rule;
mod shelf;
mod stock;

pub use self::cart::{
    CartRefusal, CartStage, CartState, CartVersion, CartWrite, admits_cart_hold, begin_cart,
    is_never_paid, write_cart,
};
pub use self::checkout::{
    CheckoutEffect, CheckoutInput, CheckoutRefusal, CheckoutState, PaymentFacts, Task,
    admits_checkout, may_record, step_checkout,
};
pub use self::early_refusal::{Asking, EarlyRefusal};
pub use self::gift::{GiftBalance, GiftMove, gift_moves};
pub use self::hold::{Effect, HoldEnd, HoldInput, HoldRefusal, HoldState, step};
pub use self::job::{
    AttemptEnd, AttemptOutcome, JobEffect, JobEnd, JobInput, JobPhase, JobRefusal, JobState,
    step_job,
};
pub use self::job_class::{JobClass, JobRun, admits_job, retry_delay, schedule_slot};
pub use self::job_segment::{SegmentRows, SegmentStep, plan_segments};
pub use self::key::{KeyVerdict, judge_key};
pub use self::phase::{Operation, Phase};
pub use self::price::{Currency, Price, PricedLine, QuoteRefusal, quote};
pub use self::rule::Rule;
#[cfg(feature = "switches")]
pub use self::rule::without;
pub use self::shelf::{Cell, Demand, GrantRefusal, Shelf, Shortage};
pub use self::stock::{Policy, Stock};
