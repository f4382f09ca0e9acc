//! Lifetimes, budgets and what they add up to.

use std::time::Duration;

use super::{Report, Severity::Error, Severity::Info, Severity::Warning};
use crate::contract::{Contract, Sensitivity, TTL_CAP, Unproven};
use crate::toml_in::show;

pub(super) fn check(report: &mut Report<'_>) {
    let contract = report.contract;
    if contract.tiers.is_none() {
        return;
    }
    if contract.staleness.is_zero() {
        budget_zero(report);
    } else if contract.ttl.is_zero() {
        report.add(
            (Error, "ttl-zero"),
            "ttl",
            "entries end the moment they are stored",
            "nothing would ever be served from the cache, while every answer still pays for storing \
             it",
            format!("remove `ttl` (it is then {}), or say `tiers = []` if this must not be cached", show(contract.fitting_ttl())),
        );
    } else if contract.ttl > TTL_CAP && !contract.immutable {
        report.add(
            (Error, "ttl-over-cap"),
            "ttl",
            format!("entries may live {}, the cap is 7 days", show(contract.ttl)),
            "the lifetime is the net under a lost invalidation; what falls into this one stays for \
             weeks",
            format!("remove `ttl` (it is then {}), or say `immutable = true` if a value never changes under its key", show(contract.fitting_ttl())),
        );
    } else if contract.ttl != contract.fitting_ttl() && !idles(contract) {
        unfitting(report);
    }
    sliding(report);
    worst_case(report);
    if contract.absent_ttl > Duration::from_secs(300) {
        report.add(
            (Warning, "absence-too-long"),
            "absent_ttl",
            format!(
                "that something does not exist is remembered for {}",
                show(contract.absent_ttl)
            ),
            "a product that was just listed looks missing for as long, should its insert ever be \
             missed",
            "choose 1 to 5 minutes",
        );
    }
}

/// Whether it ends when nobody has used it for a while that is shorter than its budget: that is what
/// sliding lives are for.
fn idles(contract: &Contract) -> bool {
    contract.sliding && contract.ttl < contract.staleness
}

/// A life that uses can't prolong.
fn sliding(report: &mut Report<'_>) {
    let contract = report.contract;
    let Some(longest) = contract.longest_life().filter(|longest| *longest <= contract.ttl) else {
        return;
    };
    let by_retention = contract.retention == Some(longest);
    let (reason, fix) = if by_retention {
        (
            "`retention` is the end in any case, counted from the load, so that uses change nothing",
            format!(
                "shorten `ttl`, agree on a longer `retention` than {}, or say `sliding = false`",
                show(longest)
            ),
        )
    } else {
        (
            "no table feeds this contract, so its age is all that is known of how old an answer is; \
             an entry that lives on by its uses would never be asked for again and could be wrong \
             for ever. So the budget is the end, counted from the load, and uses change nothing",
            "name the table its values come from: `from = { source = \"…\", table = \"…\", key = \
             \"id\" }`; or say how long an unused entry may stay, `ttl` below `staleness`; or say \
             `sliding = false`"
                .to_owned(),
        )
    };
    report.add(
        (Error, "sliding-in-vain"),
        "sliding",
        format!(
            "each use is to start the lifetime of {} anew, but entries end {} after their load",
            show(contract.ttl),
            show(longest)
        ),
        reason,
        fix,
    );
}

fn budget_zero(report: &mut Report<'_>) {
    report.add(
        (Warning, "budget-zero"),
        "staleness",
        "the budget is 0, and no answer from a cache can be proven to be 0 old",
        "every bound is at least the time a commit takes to reach the cache, a few milliseconds: \
         each read would go to the origin",
        "say `tiers = []` if this must never be cached, or allow what a user can't tell from now, \
         such as `staleness = \"250ms\"`",
    );
}

fn unfitting(report: &mut Report<'_>) {
    let contract = report.contract;
    let (ttl, budget, fitting) = (contract.ttl, contract.staleness, contract.fitting_ttl());
    let reason = if ttl < budget {
        "entries end before they could be older than allowed: loads that buy nothing"
    } else if ttl < fitting {
        "invalidation, not the lifetime, keeps entries fresh; a shorter net only adds loads"
    } else {
        "should an invalidation ever be lost, this is how long the old value could stay"
    };
    report.add(
        (Warning, "ttl-not-safety-net"),
        "ttl",
        format!(
            "entries live {}; the safety net of a budget of {} is {}",
            show(ttl),
            show(budget),
            show(fitting)
        ),
        reason,
        format!("remove `ttl`; it is then {}", show(fitting)),
    );
}

/// `serve-stale` is the one rule under which the bound does not fence; whoever approved the budget
/// should see the figure it can turn into.
fn worst_case(report: &mut Report<'_>) {
    let contract = report.contract;
    let worst = contract.worst_case();
    if worst <= contract.staleness || contract.immutable {
        return;
    }
    let plain =
        contract.sensitivity == Sensitivity::Public && contract.ttl <= contract.fitting_ttl();
    let severity = if plain { Info } else { Warning };
    report.add(
        (severity, "worst-case-over-budget"),
        "unproven",
        format!(
            "with `serve-stale`, an answer can be {} old where the budget is {}: {}",
            show(worst),
            show(contract.staleness),
            sum(contract)
        ),
        "while changes arrive, every answer is proven to be within the budget. While the feed is \
         away nothing is proven, and `serve-stale` says to answer even so: lifetimes are then all \
         there is, and they add up over the tiers because one can be filled from another just \
         before its entry ends. (With `read-origin` or `fail` the bound takes the entry out of use \
         at the budget.)",
        "make sure that whoever approved the budget knows this figure, or choose `unproven = \
         \"read-origin\"`",
    );
}

/// The sum behind the worst case.
fn sum(contract: &Contract) -> String {
    debug_assert_eq!(contract.unproven, Unproven::ServeStale, "all other rules fence");
    let tiers = contract.tiers.count();
    let mut text = format!(
        "{tiers} {} × {} lifetime × {:.2} jitter",
        if tiers == 1 { "tier" } else { "tiers" },
        show(contract.ttl),
        1.0 + contract.refresh.jitter
    );
    if !contract.stale_while_revalidate.is_zero() {
        text.push_str(&format!(
            " + {} while one load renews it",
            show(contract.stale_while_revalidate)
        ));
    }
    text
}

/// How old, in words.
pub(super) fn old(budget: Duration) -> String {
    if budget.is_zero() { "0s".to_owned() } else { show(budget) }
}
