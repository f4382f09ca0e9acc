//! Contracts whose values a service gives.

use std::time::Duration;

use super::{Report, Severity::Error, Severity::Info, Severity::Warning};
use crate::contract::Evidence;
use crate::toml_in::show;

/// A shorter budget than this, without a log, is hardly ever used twice.
const SHORT: Duration = Duration::from_secs(1);

pub(super) fn check(report: &mut Report<'_>) {
    lag(report);
    let contract = report.contract;
    let Some(service) = &contract.service else { return };
    for header in service.headers.iter().filter(|header| header.shows_a_secret()) {
        report.add(
            (Error, "secret-in-contract"),
            "value.headers",
            format!("`{}` seems to be a secret, and stands in the contract", header.name),
            "contracts are read by many, printed by tools and kept in version control",
            format!(
                "name an environment variable that holds the value: \"{}: $NAME\"",
                header.name
            ),
        );
    }
    if !contract.is_cached() {
        return;
    }
    if contract.evidence() == Evidence::Age && contract.staleness < SHORT {
        report.add(
            (Warning, "service-asked-always"),
            "staleness",
            format!(
                "no table feeds this contract, so its entries end after {}",
                show(contract.staleness)
            ),
            "without a log the age of an answer is all that is known of it; within so short a time \
             few answers are asked for twice, and the service gets nearly every read",
            "name the table that the service reads, `from = { … }`, or agree on a longer \
             `staleness`",
        );
    }
    if contract.evidence() == Evidence::Lease && contract.lag.is_zero() {
        report.add(
            (Info, "service-lag-unsaid"),
            "lag",
            "the service is taken to read its database freshly",
            "the log says when a commit was made, not when a service shows it: one that reads a \
             standby, or keeps something in a cache of its own, would answer the old value just \
             after the commit, and it would be stored until the next commit",
            "if it may lag, say by how much at most: `lag = \"200ms\"`",
        );
    }
    unknown_tags(report);
}

fn lag(report: &mut Report<'_>) {
    let contract = report.contract;
    if !contract.lag.is_zero() && contract.lag >= contract.staleness && !contract.immutable {
        report.add(
            (Error, "lag-over-budget"),
            "lag",
            format!(
                "the service may lag {}, and an answer may be {} old",
                show(contract.lag),
                super::time::old(contract.staleness)
            ),
            "what may be so old when it is loaded can never be proven to be within the budget",
            "agree on a `staleness` of more than the lag, or have the service read the primary",
        );
    }
}

/// Of an answer only the id is known, and what the service itself says.
fn unknown_tags(report: &mut Report<'_>) {
    let contract = report.contract;
    let key = contract.from.as_ref().map_or("id", |from| from.key.as_str());
    let unknown: Vec<&str> =
        contract.tag_columns().into_iter().filter(|column| *column != key).collect();
    if unknown.is_empty() {
        return;
    }
    report.add(
        (Warning, "service-tags-unknown"),
        "tags",
        format!(
            "tags are made from `{}`, which nobody knows of a service's answer",
            unknown.join("`, `")
        ),
        "an entry carries the tags that its id tells; those of other columns would be missing, and \
         what raises them would leave it alone",
        "leave them out, and have the service send them: `Surrogate-Key: category-7`",
    );
}
