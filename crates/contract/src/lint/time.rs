//! Rules about TTLs, budgets and their worst case.

use std::time::Duration;

use crate::config::format_duration;
use crate::lint::finding::Severity::{Error, Info, Warning};
use crate::lint::review::Review;
use crate::model::contract::{Contract, Sensitivity, Unproven};
use crate::model::freshness::TTL_CAP;

pub(super) fn check(review: &mut Review<'_>) {
    let contract = review.contract;
    if contract.tiers.is_none() {
        return;
    }
    let default_ttl = format_duration(contract.default_ttl());
    if contract.staleness.is_zero() {
        budget_zero(review);
    } else if contract.ttl.is_zero() {
        review.add(
            (Error, "ttl-zero"),
            "ttl",
            "entries expire the moment they are stored",
            "no read would ever hit the cache, while every answer still pays for the store",
            format!(
                "remove `ttl` (the default is {default_ttl}), or write `tiers = []` if the data must \
                 not be cached"
            ),
        );
    } else if contract.ttl > TTL_CAP && !contract.immutable {
        review.add(
            (Error, "ttl-over-cap"),
            "ttl",
            format!("the TTL is {}, the cap is 7 days", format_duration(contract.ttl)),
            "the TTL is the safety net for a lost invalidation; with this TTL the old value could stay \
             for weeks",
            format!(
                "remove `ttl` (the default is {default_ttl}), or write `immutable = true` if the value \
                 of a key never changes"
            ),
        );
    } else if contract.ttl != contract.default_ttl() && !expires_when_idle(contract) {
        unusual_ttl(review);
    }
    check_sliding(review);
    check_worst_case(review);
    if contract.absent_ttl > Duration::from_secs(300) {
        review.add(
            (Warning, "absence-too-long"),
            "absent_ttl",
            format!("the absence of a row is cached for {}", format_duration(contract.absent_ttl)),
            "if the insert of a new product is ever missed, the product looks missing for as long",
            "choose 1 to 5 minutes",
        );
    }
}

/// Returns whether an unused entry expires before its budget ends, which is the purpose of a sliding TTL.
fn expires_when_idle(contract: &Contract) -> bool {
    contract.sliding && contract.ttl < contract.staleness
}

/// Reports a sliding TTL that uses can't extend.
fn check_sliding(review: &mut Review<'_>) {
    let contract = review.contract;
    let Some(longest) = contract.max_lifetime().filter(|longest| *longest <= contract.ttl) else {
        return;
    };
    let by_retention = contract.retention == Some(longest);
    let (reason, fix) = if by_retention {
        (
            "`retention`, counted from the load, always limits the lifetime, so uses have no effect",
            format!(
                "shorten `ttl`, agree on a `retention` longer than {}, or write `sliding = false`",
                format_duration(longest)
            ),
        )
    } else {
        (
            "no table invalidates the entries of this contract, so age is the only evidence of \
             freshness; an entry whose uses extended its TTL would never be loaded again and could be \
             wrong forever. So the budget, counted from the load, limits the lifetime, and uses have no \
             effect",
            "name the table that the values come from: `from = { source = \"…\", table = \"…\", key = \
             \"id\" }`; or set how long an unused entry may stay, `ttl` below `staleness`; or write \
             `sliding = false`"
                .to_owned(),
        )
    };
    review.add(
        (Error, "sliding-in-vain"),
        "sliding",
        format!(
            "each use should restart the TTL of {}, but entries end {} after their load",
            format_duration(contract.ttl),
            format_duration(longest)
        ),
        reason,
        fix,
    );
}

fn budget_zero(review: &mut Review<'_>) {
    review.add(
        (Warning, "budget-zero"),
        "staleness",
        "the budget is 0, and no cached answer can be proven to be 0 old",
        "every bound is at least the time that a commit takes to reach the cache, a few milliseconds, so \
         each read would go to the origin",
        "write `tiers = []` if the data must never be cached, or allow a delay that users can't notice, \
         such as `staleness = \"250ms\"`",
    );
}

fn unusual_ttl(review: &mut Review<'_>) {
    let contract = review.contract;
    let (ttl, budget, default) = (contract.ttl, contract.staleness, contract.default_ttl());
    let reason = if ttl < budget {
        "entries expire before they could exceed the budget, so the additional loads have no benefit"
    } else if ttl < default {
        "invalidation, not the TTL, keeps entries fresh; a shorter TTL only adds loads"
    } else {
        "if an invalidation is ever lost, the old value could stay for this long"
    };
    review.add(
        (Warning, "ttl-not-safety-net"),
        "ttl",
        format!(
            "the TTL is {}; the safety net for a budget of {} is {}",
            format_duration(ttl),
            format_duration(budget),
            format_duration(default)
        ),
        reason,
        format!("remove `ttl`; the default is {}", format_duration(default)),
    );
}

/// Reports the worst case of `serve-stale`, the only rule under which the bound does not fence. The
/// approver of the budget should know it.
fn check_worst_case(review: &mut Review<'_>) {
    let contract = review.contract;
    let worst = contract.worst_case();
    if worst <= contract.staleness || contract.immutable {
        return;
    }
    let is_harmless =
        contract.sensitivity == Sensitivity::Public && contract.ttl <= contract.default_ttl();
    let severity = if is_harmless { Info } else { Warning };
    review.add(
        (severity, "worst-case-over-budget"),
        "unproven",
        format!(
            "with `serve-stale`, an answer can be {} old where the budget is {}: {}",
            format_duration(worst),
            format_duration(contract.staleness),
            worst_case_sum(contract)
        ),
        "while changes arrive, every answer is proven to be within the budget. While the feed is down no \
         answer is proven, and `serve-stale` answers nevertheless: then only TTLs limit the staleness, \
         and they add up over the tiers because a tier can be filled from another just before the entry \
         there expires. (With `read-origin` or `fail`, the bound disqualifies the entry at the budget.)",
        "make sure that the approver of the budget knows this figure, or write `unproven = \
         \"read-origin\"`",
    );
}

/// Returns the sum behind the worst case.
fn worst_case_sum(contract: &Contract) -> String {
    debug_assert_eq!(contract.unproven, Unproven::ServeStale, "all other rules fence");
    let tiers = contract.tiers.count();
    let mut text = format!(
        "{tiers} {} × {} TTL × {:.2} jitter",
        if tiers == 1 { "tier" } else { "tiers" },
        format_duration(contract.ttl),
        1.0 + contract.refresh.jitter
    );
    if !contract.stale_while_revalidate.is_zero() {
        text.push_str(&format!(
            " + {} while one load renews it",
            format_duration(contract.stale_while_revalidate)
        ));
    }
    text
}
