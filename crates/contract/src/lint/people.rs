//! Who answers for a contract.

use super::{Report, Severity::Error, Severity::Warning};
use crate::contract::{Class, Unproven};

pub(super) fn check(report: &mut Report<'_>) {
    let contract = report.contract;
    if contract.owner.is_none() {
        report.add(
            (Error, "owner-missing"),
            "owner",
            "nobody owns this contract",
            "when it shows something old on the busiest day, someone has to decide within minutes",
            "name the team: `owner = \"pricing\"`",
        );
    }
    if contract.approved.is_none() {
        report.add(
            (Error, "approval-missing"),
            "approved",
            format!(
                "nobody has approved that answers may be {} old",
                super::time::old(contract.staleness)
            ),
            "how old a price or a text may be is a decision about the business; it should not be \
             found out from customers who made it",
            "show it to whoever answers for the data, then write `approved = { by = [\"product\"], \
             on = 2026-11-02 }`",
        );
    }
    let stops = contract.unproven == Unproven::Fail;
    if contract.pager.is_none()
        && (stops || contract.priority == Class::Critical && contract.preset.is_none())
    {
        let message = if stops {
            "answers are refused when freshness can't be proven, and nobody is called"
        } else {
            "this is critical to the shop, and nobody is called when it breaks"
        };
        report.add(
            (Warning, "pager-missing"),
            "pager",
            message,
            "a contract that fails closed takes its feature down; someone should know before the \
             customers do",
            "say who is called: `pager = \"payments-oncall\"`",
        );
    }
}
