//! Buyers of a sale, through its HTTP API: they press ten times, use twelve tabs, come back later, give up, and repeat
//! each request with its key until it has a definite answer. Each request is recorded with its answer, as JSON lines.

mod behaviour;
mod crowd;
mod journal;
mod rush;
mod shop;

pub use self::crowd::{Crowd, CrowdResult};
pub use self::journal::Journal;
pub use self::rush::{Buying, Rush, RushResult};
pub use self::shop::{Answer, ShopClient};
