//! The auditor of pages: a sample of stored pages is loaded past all tiers and compared.
//!
//! The log proves a page only as far as its tags name what it shows, and that is known to its application
//! alone. So the auditor asks the upstream: a page that differs, and that no event has invalidated a second
//! later, shows something that its tags don't name. It names the tables with commits since the page was loaded
//! that no tag covers.

mod auditor;
mod sampler;

pub use self::auditor::{ChangedTables, PageAuditor};
pub(crate) use self::sampler::{PageSample, PageSampler};
