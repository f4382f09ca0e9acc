//! Plans: requests and writes with their times, decided before the run, as an open loop needs. A
//! seed gives the same plan every time, and all targets of a comparison receive the same plan.

mod decompress;
mod event;
mod inventory;
pub mod orders;
mod pace;
mod page_mix;
mod random;
mod read_trace;
mod replay;
mod shoppers;
mod storm;

pub use event::{Action, Event, Plan, Write};
pub use inventory::{Inventory, InventoryItem};
pub use pace::Pace;
pub use random::Popularity;
pub use read_trace::{ReadTrace, TraceError};
pub use replay::Replay;
pub use shoppers::Shoppers;
pub use storm::Storm;
