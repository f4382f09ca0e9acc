//! Signed values in Redis and signed messages in the log: those that others write are not used, and named.

mod messages;
mod values;

use harness::http;
use serde_json::Value;

use crate::stack::{DEADLINE, Node};

/// Two keys of 32 characters.
pub(crate) const OLD: &str = "old-0123456789-0123456789-012345";
const NEW: &str = "new-0123456789-0123456789-012345";

/// Returns the configuration with the keys of `[shared]`, of which the first signs.
pub(crate) fn signing(config: &str, keys: &[&str]) -> String {
    let edited = config.replace("[upstream]", &format!("signing_keys = {keys:?}\n\n[upstream]"));
    assert_ne!(edited, config);
    // A slow machine must not make misses of hits.
    edited.replace("[upstream]", "timeout = \"10s\"\n\n[upstream]")
}

impl Node {
    /// Returns a part of the auditor's report: the number of refusals, and the last one.
    fn refused(&self, part: &str) -> (u64, String) {
        let report = http::get(self.admin, "/api/v1/audit", DEADLINE).expect("an answer");
        let report: Value = serde_json::from_slice(&report.body).expect("JSON");
        let refused = report[part]["refused"].as_u64().unwrap_or_else(|| panic!("{report}"));
        (refused, report[part]["last"].as_str().unwrap_or_default().to_owned())
    }

    /// Returns the state of a component in `/readyz`.
    fn readiness_of(&self, name: &str) -> Value {
        let ready = http::get(self.admin, "/readyz", DEADLINE).expect("an answer");
        let ready: Value = serde_json::from_slice(&ready.body).expect("JSON");
        ready["components"][name].clone()
    }
}
