//! The limits of stored pages.

use contract::config::TableReader;

/// The largest page that a configuration allows to be stored, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// The most tags of a page that a configuration allows.
const MAX_TAGS: u32 = 10_000;

/// The limits of stored pages. A page beyond them is passed on, and says so in `Cache-Status`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PageLimits {
    /// The largest body, in bytes.
    pub max_bytes: u64,
    /// The most surrogate keys.
    pub max_tags: usize,
}

impl Default for PageLimits {
    fn default() -> Self {
        Self { max_bytes: 4 << 20, max_tags: 512 }
    }
}

impl PageLimits {
    /// The keys of `[edge]` that set these limits.
    pub(super) const KEYS: [&str; 2] = ["max_page_size", "max_tags"];

    /// Reads the limits from `[edge]`.
    pub(super) fn read(table: &mut TableReader<'_>) -> Self {
        let default = Self::default();
        let max_tags = table.whole_number("max_tags", 1..=MAX_TAGS);
        Self {
            max_bytes: table.size("max_page_size", 1..=MAX_BYTES).unwrap_or(default.max_bytes),
            max_tags: max_tags
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(default.max_tags),
        }
    }
}
