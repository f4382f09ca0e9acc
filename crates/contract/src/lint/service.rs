//! Rules about contracts whose values come from a service.

use std::time::Duration;

use crate::config::format_duration;
use crate::lint::finding::Severity::{Error, Info, Warning};
use crate::lint::review::Review;
use crate::model::contract::Evidence;

/// Without a log, an entry with a shorter budget than this is hardly ever read twice.
const SHORT_BUDGET: Duration = Duration::from_secs(1);

pub(super) fn check(review: &mut Review<'_>) {
    check_lag(review);
    let contract = review.contract;
    let Some(service) = &contract.service else { return };
    for header in service.headers.iter().filter(|header| header.exposes_secret()) {
        review.add(
            (Error, "secret-in-contract"),
            "value.headers",
            format!("`{}` seems to be a secret, and the contract contains its value", header.name),
            "many people read contracts, tools print them, and they are under version control",
            format!(
                "name an environment variable that contains the value: \"{}: $NAME\"",
                header.name
            ),
        );
    }
    if !contract.is_cached() {
        return;
    }
    if contract.evidence() == Evidence::Age && contract.staleness < SHORT_BUDGET {
        review.add(
            (Warning, "service-asked-always"),
            "staleness",
            format!(
                "no table invalidates the entries of this contract, so they expire after {}",
                format_duration(contract.staleness)
            ),
            "without a log, age is the only evidence of freshness; few entries are read twice within \
             such a short time, so the service gets nearly every read",
            "name the table that the service reads, `from = { … }`, or agree on a longer `staleness`",
        );
    }
    if contract.evidence() == Evidence::Lease && contract.lag.is_zero() {
        review.add(
            (Info, "service-lag-unsaid"),
            "lag",
            "the service is assumed to read its database without lag",
            "the log contains the time of a commit, not the time when the service shows it: a service \
             that reads a standby or has a cache of its own would return the old value just after the \
             commit, and that value would be cached until the next commit",
            "if the service may lag, set the maximum: `lag = \"200ms\"`",
        );
    }
    check_tags(review);
}

fn check_lag(review: &mut Review<'_>) {
    let contract = review.contract;
    if !contract.lag.is_zero() && contract.lag >= contract.staleness && !contract.immutable {
        review.add(
            (Error, "lag-over-budget"),
            "lag",
            format!(
                "the service may lag by {}, and an answer may be {} old",
                format_duration(contract.lag),
                format_duration(contract.staleness)
            ),
            "a value that may be so old when it is loaded can never be proven to be within the budget",
            "agree on a `staleness` greater than the lag, or let the service read the primary",
        );
    }
}

/// An answer of a service contains only the id, and the tags that the service itself sends.
fn check_tags(review: &mut Review<'_>) {
    let contract = review.contract;
    let key = if contract.from.is_some() { contract.key_columns() } else { vec!["id"] };
    let unknown: Vec<&str> =
        contract.tag_columns().into_iter().filter(|column| !key.contains(column)).collect();
    if unknown.is_empty() {
        return;
    }
    review.add(
        (Warning, "service-tags-unknown"),
        "tags",
        format!(
            "tags are made from `{}`, which the answer of a service does not contain",
            unknown.join("`, `")
        ),
        "an entry carries only the tags that are made from its id; the other tags would be missing, and \
         their invalidation would miss the entry",
        "remove them, and let the service send them: `Surrogate-Key: category-7`",
    );
}
