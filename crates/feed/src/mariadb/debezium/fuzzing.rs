//! The entry point of fuzz tests: the parser of posted events.

use super::parser::parse;

/// Parses a posted body.
pub fn body(bytes: &[u8]) {
    let _ = parse(bytes);
}
