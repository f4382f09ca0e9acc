//! The issues of a setup that were found.

use crate::error::SetupIssue;

/// The issues that keep a database from being followed, and warnings.
#[derive(Default)]
pub(super) struct Check {
    pub(super) issues: Vec<SetupIssue>,
    pub(super) warnings: Vec<SetupIssue>,
}

impl Check {
    pub(super) fn issue<const N: usize>(
        &mut self,
        description: impl Into<String>,
        remedy: [String; N],
    ) {
        self.issues.push(SetupIssue::new(description, remedy));
    }
}
