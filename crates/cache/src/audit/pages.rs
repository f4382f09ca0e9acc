//! The report of the auditor of pages.

use serde::{Deserialize, Serialize};

/// Counts and the last findings about pages since the start.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct PageAuditReport {
    /// Stored pages that were compared with the upstream.
    pub compared: u64,
    /// The upstream returned the same page, apart from the ignored parts.
    pub agreed: u64,
    /// The upstream returned another page, and the stored one was not invalidated.
    pub changed: u64,
    /// Two loads in a row differed at the same time: the page changes by itself.
    pub volatile: u64,
    /// The stored page was replaced before the second load.
    pub undecided: u64,
    /// The upstream returned no page to compare with.
    pub unread: u64,
    /// Changed pages whose shown bound, by the log, was smaller than the time for which they differed.
    pub broken: u64,
    /// The last findings, oldest first; left out where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<PageFinding>,
}

/// A stored page that differs from the upstream's.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PageFinding {
    /// The number of the finding, counted since the start.
    pub number: u64,
    /// Host, path and query.
    pub url: String,
    /// The `contract` of its route.
    pub route: String,
    /// The page's tags.
    pub tags: Vec<String>,
    /// The tags that prove nothing: no log raises them, or only a change of some columns does.
    pub unproven_tags: Vec<String>,
    /// The evidence of its bound: `log` or `age`.
    pub proof: String,
    /// Whether its shown bound was smaller than the time for which it differed.
    pub broken: bool,
    /// Whether two loads in a row differed.
    pub volatile: bool,
    /// The first byte of the body that differs, from 0.
    pub offset: usize,
    /// Its line, from 1.
    pub line: usize,
    /// The stored text there.
    pub stored: String,
    /// The upstream's text there.
    pub upstream: String,
    /// The tables with commits since the page was loaded that no tag of the page covers; null: this node does
    /// not read the log.
    pub tables: Option<Vec<String>>,
    /// The load time of the stored page, in ms since 1970.
    pub loaded_ms: u64,
    /// The time of the finding, in ms since 1970.
    pub found_ms: u64,
}

impl PageFinding {
    /// Returns the likely cause and the remedy.
    #[must_use]
    pub fn advice(&self) -> String {
        match self.tables.as_deref() {
            _ if self.volatile => {
                "the page changes by itself: name the part in `audit_ignore` of its \
                                   route, or render it in the browser"
                    .to_owned()
            }
            None => {
                "this node does not read the log; `tidegate audit` of the node that does may name \
                     the table"
                    .to_owned()
            }
            Some([]) => {
                "no table that a contract follows has changed outside its tags: the page shows a \
                         table without a contract, or a row that it has no tag for"
                    .to_owned()
            }
            Some(tables) => format!(
                "`{}` changed since, and no tag of the page covers it: tag the page with its rows",
                tables.join("`, `")
            ),
        }
    }
}

impl PageAuditReport {
    /// Returns the counts added since `before`, an earlier report of the same process.
    pub(super) fn since(&self, before: &Self) -> Self {
        let newer = |now: u64, before: u64| now.saturating_sub(before);
        let last = before.changed + before.volatile;
        Self {
            compared: newer(self.compared, before.compared),
            agreed: newer(self.agreed, before.agreed),
            changed: newer(self.changed, before.changed),
            volatile: newer(self.volatile, before.volatile),
            undecided: newer(self.undecided, before.undecided),
            unread: newer(self.unread, before.unread),
            broken: newer(self.broken, before.broken),
            findings: self.findings.iter().filter(|found| found.number > last).cloned().collect(),
        }
    }
}
