//! Rules about sensitive data.

use std::time::Duration;

use crate::config::format_duration;
use crate::lint::finding::Severity::{Error, Info};
use crate::lint::review::Review;
use crate::model::contract::{Contract, Sensitivity, Tiers, Unproven};
use crate::section::preset::{Strictness, presets};

pub(super) fn check(review: &mut Review<'_>) {
    let contract = review.contract;
    if contract.tiers.is_none() {
        return;
    }
    let name = contract.preset.as_deref();
    let preset = presets().iter().find(|preset| Some(preset.name) == name);
    let strictness = preset.map_or(Strictness::Open, |preset| preset.strictness);
    if strictness == Strictness::NeverCached {
        review.add(
            (Error, "never-cached"),
            "tiers",
            format!(
                "`{}` must never be cached, but `tiers` allows {}",
                name.unwrap_or_default(),
                describe_tiers(contract.tiers)
            ),
            "a shop that sells from a stock count, or ships on a payment status, that is only \
             milliseconds old sells goods that it does not have",
            "remove `tiers`; to show a count on a page, make a separate contract with a budget that is \
             approved for display",
        );
        return;
    }
    let must_fail_closed =
        matches!(contract.sensitivity, Sensitivity::Financial | Sensitivity::Auth)
            || strictness == Strictness::FailClosed;
    if must_fail_closed {
        check_fail_closed(review);
    }
    if contract.sensitivity.is_personal() {
        check_personal(review);
    }
    if contract.from.is_none() && !contract.immutable {
        review.add(
            (Info, "nothing-invalidates"),
            "from",
            "the contract has no table whose changes invalidate its entries",
            "a change reaches the cache only when an entry expires or is invalidated explicitly, so age \
             is the only bound",
            "name the table that the values come from: `from = { source = \"…\", table = \"…\", key = \
             \"id\" }`",
        );
    }
}

fn check_fail_closed(review: &mut Review<'_>) {
    let contract = review.contract;
    if contract.tiers.local {
        review.add(
            (Error, "sensitive-in-process"),
            "tiers",
            "money or permissions may be stored in the process",
            "a revoked permission or a changed balance must disappear everywhere at once; other \
             processes can't reach an in-process copy, and it is part of memory dumps",
            "write `tiers = [\"shared\"]` or `tiers = []`",
        );
    }
    if contract.unproven != Unproven::Fail {
        review.add(
            (Error, "sensitive-not-fail"),
            "unproven",
            "reads of money or permissions are answered when freshness can't be proven",
            "a stale permission admits a user whose access was revoked; an error is the safe outcome",
            "write `unproven = \"fail\"`",
        );
    }
}

fn check_personal(review: &mut Review<'_>) {
    let contract = review.contract;
    if contract.residency.is_none() {
        review.add(
            (Error, "residency-missing"),
            "residency",
            "personal data has no region that it must stay in",
            "a cached entry is a copy of personal data, and data protection law regulates its location",
            "name the region: `residency = \"eu\"`",
        );
    }
    match contract.retention {
        None => review.add(
            (Error, "retention-missing"),
            "retention",
            "personal data has no limit on how long copies are kept",
            "erasure has to reach copies too, and data protection audits require the limit",
            format!(
                "set the limit: `retention = \"{}\"`",
                format_duration(suggested_retention(contract))
            ),
        ),
        Some(retention) if retention < contract.ttl => review.add(
            (Error, "retention-below-ttl"),
            "retention",
            format!(
                "copies may be kept for {}, but entries have a TTL of {}",
                format_duration(retention),
                format_duration(contract.ttl)
            ),
            "an unused entry stays stored until its TTL ends",
            "shorten `staleness` or `ttl`, or agree on a longer `retention`",
        ),
        Some(_) => {}
    }
}

/// Returns the TTL, or 30 TTLs for a sliding entry.
fn suggested_retention(contract: &Contract) -> Duration {
    if contract.sliding { contract.ttl.saturating_mul(30) } else { contract.ttl }
}

fn describe_tiers(tiers: Tiers) -> &'static str {
    match (tiers.local, tiers.shared) {
        (true, true) => "the process and the shared tier",
        (true, false) => "the process",
        _ => "the shared tier",
    }
}
