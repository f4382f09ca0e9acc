//! The rules that make an answer provably fresh: pure functions and state machines.
//!
//! Nothing here does I/O, reads a clock, draws a random number or waits. The product, the model
//! checker and the simulator run this same code; a model that is a second copy of the rules would
//! prove nothing. The protocol itself is explained in `docs/coherence.md`.
//!
//! | module | question it answers |
//! |---|---|
//! | [`fence`] | may this value be stored, and does a stored one still stand? |
//! | [`watermark`] | up to which commit does *every* new snapshot see everything? |
//! | [`relay`] | is what somebody else reads from the log and passes on whole? |
//! | [`chain`] | what may the tiers be told of a stream, and what may the database forget? |
//! | [`bound`] | since when is a tier that applied position A known to miss nothing? |
//! | [`resume`] | after a reconnection: may a tier go on, or is everything in it unproven? |
//! | [`absence`] | is this key known to have no row? |
//! | [`furthest`] | has this tier come back from older data? |
//! | [`recent`] | what has to be told again to a tier that came back older? |
//! | [`buckets`] | where does a tier stand whose keys lie in several places, and which of them begins anew? |
//! | [`after`] | is this answer good for somebody who has written? |
//! | [`atomic`] | are these values what the database held at one moment? |
//! | [`soft`] | what is still proven about an entry that a commit has made old? |
//! | [`governor`] | how much of its budget may a contract spend while its origin is pressed? |
//! | [`life`] | how long may an entry stay that is used? |
//! | [`standby`] | what is an answer of a standby worth, and will it do? |
//! | [`trail`] | which commits must an answer of a service that lags have in it? |
//! | [`lease`] | who in the cluster loads this key, and until when? |
//! | [`rules`] | what is each rule called, and what happens without it? |

pub mod absence;
pub mod after;
pub mod atomic;
pub mod bound;
pub mod buckets;
pub mod chain;
pub mod clock;
pub mod event;
pub mod fence;
pub mod furthest;
pub mod governor;
pub mod lease;
pub mod life;
pub mod position;
pub mod recent;
pub mod relay;
pub mod resume;
pub mod rules;
pub mod soft;
pub mod standby;
pub mod trail;
pub mod watermark;

pub use absence::{Names, Register};
pub use after::{After, Reached};
pub use bound::Bound;
pub use chain::{Chain, Link};
pub use clock::{Clock, Mono};
pub use event::{Batch, Cause, Event, Renewal, Subject};
pub use fence::{Fence, Followed, Offer, Refusal, Verdict};
pub use furthest::Furthest;
pub use governor::Governor;
pub use lease::{LeaseToken, Leases};
pub use life::Life;
pub use position::{Epoch, Log, Lsn};
pub use recent::Recent;
pub use relay::Relay;
pub use rules::Rule;
pub use soft::{Blow, Mark, Struck};
pub use standby::{Need, Replayed, Unfit};
pub use trail::Trail;
pub use watermark::{Snapshot, Watermark};
