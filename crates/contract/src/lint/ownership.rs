//! Rules about the people behind a contract: owner, approval and on-call rotation.

use crate::config::format_duration;
use crate::lint::finding::Severity::{Error, Warning};
use crate::lint::review::Review;
use crate::model::contract::{Class, Unproven};

pub(super) fn check(review: &mut Review<'_>) {
    let contract = review.contract;
    if contract.owner.is_none() {
        review.add(
            (Error, "owner-missing"),
            "owner",
            "the contract has no owner",
            "when it serves stale data at peak load, a responsible team has to decide within minutes",
            "name the team: `owner = \"pricing\"`",
        );
    }
    if contract.approved.is_none() {
        review.add(
            (Error, "approval-missing"),
            "approved",
            format!(
                "there is no approval for answers that are up to {} old",
                format_duration(contract.staleness)
            ),
            "how old a price or a text may be is a business decision; without an approval, customers \
             discover it first",
            "ask the people responsible for the data, then write `approved = { by = [\"product\"], on \
             = 2026-11-02 }`",
        );
    }
    let fails_closed = contract.unproven == Unproven::Fail;
    if contract.pager.is_none()
        && (fails_closed || contract.priority == Class::Critical && contract.preset.is_none())
    {
        let message = if fails_closed {
            "reads fail when freshness can't be proven, and no on-call rotation is paged"
        } else {
            "the data is critical to the shop, and no on-call rotation is paged when it fails"
        };
        review.add(
            (Warning, "pager-missing"),
            "pager",
            message,
            "a contract that fails closed takes its feature down; the team should know before the \
             customers do",
            "name the on-call rotation: `pager = \"payments-oncall\"`",
        );
    }
}
