//! Data that has to be handled with care.

use std::time::Duration;

use super::{Report, Severity::Error, Severity::Info};
use crate::contract::{Contract, Sensitivity, Tiers, Unproven};
use crate::preset::{Strictness, presets};
use crate::toml_in::show;

pub(super) fn check(report: &mut Report<'_>) {
    let contract = report.contract;
    if contract.tiers.is_none() {
        return;
    }
    let name = contract.preset.as_deref();
    let preset = presets().iter().find(|preset| Some(preset.name) == name);
    let strictness = preset.map_or(Strictness::Open, |preset| preset.strictness);
    if strictness == Strictness::NeverCached {
        report.add(
            (Error, "never-cached"),
            "tiers",
            format!(
                "`{}` must never be cached, but may live in {}",
                name.unwrap_or_default(),
                tiers(contract.tiers)
            ),
            "selling from a count, or shipping on a status, that is milliseconds old is how a shop \
             sells what it does not have",
            "remove `tiers`; to show a count on a page, make a contract of its own with a budget \
             that was approved for display",
        );
        return;
    }
    let guarded = matches!(contract.sensitivity, Sensitivity::Financial | Sensitivity::Auth)
        || strictness == Strictness::FailClosed;
    if guarded {
        fail_closed(report);
    }
    if contract.sensitivity.is_personal() {
        personal(report);
    }
    if contract.from.is_none() && !contract.immutable {
        report.add(
            (Info, "nothing-invalidates"),
            "from",
            "no table feeds this contract",
            "a change reaches its entries only when their lifetime ends or someone calls invalidate, \
             so their age is the only bound there is",
            "name the table its values come from: `from = { source = \"…\", table = \"…\", key = \
             \"id\" }`",
        );
    }
}

fn fail_closed(report: &mut Report<'_>) {
    let contract = report.contract;
    if contract.tiers.local {
        report.add(
            (Error, "sensitive-in-process"),
            "tiers",
            "money or permissions may live inside the process",
            "a revoked permission or a changed balance must be gone everywhere at once; an \
             in-process copy is out of reach of anyone but its own process, also in a memory dump",
            "say `tiers = [\"shared\"]`, or `tiers = []`",
        );
    }
    if contract.unproven != Unproven::Fail {
        report.add(
            (Error, "sensitive-not-fail"),
            "unproven",
            "money or permissions are answered when freshness can't be proven",
            "an old permission lets in who was locked out; refusing is the safe mistake",
            "say `unproven = \"fail\"`",
        );
    }
}

fn personal(report: &mut Report<'_>) {
    let contract = report.contract;
    if contract.residency.is_none() {
        report.add(
            (Error, "residency-missing"),
            "residency",
            "personal data without a region it has to stay in",
            "a copy in a cache is a copy: data protection law asks where it is",
            "name the region: `residency = \"eu\"`",
        );
    }
    match contract.retention {
        None => report.add(
            (Error, "retention-missing"),
            "retention",
            "personal data without a limit to how long copies are kept",
            "erasure has to reach copies too, and an auditor will ask for the limit",
            format!(
                "say how long at most: `retention = \"{}\"`",
                show(fitting_retention(contract))
            ),
        ),
        Some(retention) if retention < contract.ttl => report.add(
            (Error, "retention-below-ttl"),
            "retention",
            format!(
                "copies may be kept {}, but entries live {}",
                show(retention),
                show(contract.ttl)
            ),
            "an entry that nobody touches is kept until its lifetime ends",
            "shorten `staleness` or `ttl`, or agree on a longer `retention`",
        ),
        Some(_) => {}
    }
}

/// The life of an entry; of one that lives on by its uses, a month of lives.
fn fitting_retention(contract: &Contract) -> Duration {
    if contract.sliding { contract.ttl.saturating_mul(30) } else { contract.ttl }
}

fn tiers(tiers: Tiers) -> &'static str {
    match (tiers.local, tiers.shared) {
        (true, true) => "the process and the shared tier",
        (true, false) => "the process",
        _ => "the shared tier",
    }
}
