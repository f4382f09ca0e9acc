//! "Sold out" was true at some moment of the request.

use std::collections::BTreeMap;

use serde_json::Value;

use super::exchange::{Exchange, Request};
use crate::ledger::{Finding, History};

/// The units that a cell had after each movement, by time. Those that a policy allows beyond are left out.
type Levels = Vec<(i64, i64)>;

/// Checks each refusal for lack of stock: a location had fewer units than were asked for at some moment from
/// `tolerance_ms` before the request to the same time after the answer.
pub(super) fn check(history: &History, exchanges: &[Exchange], tolerance_ms: i64) -> Vec<Finding> {
    let refused = exchanges
        .iter()
        .filter(|exchange| exchange.request() == Request::Hold && exchange.problem() == "sold-out");
    let mut levels = BTreeMap::<(&str, &str), Levels>::new();
    for movement in &history.movements {
        let cell = levels.entry((&movement.sku, &movement.location)).or_default();
        let before = cell.last().map_or(0, |(_, units)| *units);
        let units = before + movement.on_hand - movement.held - movement.sold;
        cell.push((movement.at_ms, units));
    }
    let finding = |exchange: &Exchange| {
        let answered_ms = exchange.answered_ms?;
        let from_ms = exchange.sent_ms.saturating_sub(tolerance_ms);
        let until_ms = answered_ms.saturating_add(tolerance_ms);
        let wanted = wanted(&exchange.body);
        let least = |cell: &(String, String)| {
            let levels = levels.get(&(cell.0.as_str(), cell.1.as_str()))?;
            least(levels, from_ms, until_ms)
        };
        let mut seen = Vec::new();
        for (cell, units) in &wanted {
            // Without a record of the cell at that time, nothing contradicts the answer.
            let had = least(cell)?;
            if had < *units {
                return None;
            }
            seen.push(format!("{} {}: {units} wanted, never below {had}", cell.0, cell.1));
        }
        (!wanted.is_empty()).then(|| Finding {
            invariant: "sold-out-is-true",
            subject: exchange.key.clone().unwrap_or_default(),
            detail: seen.join("; "),
            repair: "tell the customer that there are units; compare the nodes' clocks and `sale.early_refusals`",
        })
    };
    refused.filter_map(finding).collect()
}

fn wanted(body: &Value) -> BTreeMap<(String, String), i64> {
    let mut wanted = BTreeMap::new();
    for line in body["lines"].as_array().into_iter().flatten() {
        let sku = line["sku"].as_str().unwrap_or_default().to_owned();
        let location = line["location"].as_str().unwrap_or("main").to_owned();
        *wanted.entry((sku, location)).or_default() +=
            line["quantity"].as_i64().unwrap_or_default();
    }
    wanted
}

/// Returns the least number of units in an interval; `None`: the cell did not exist during all of it.
fn least(levels: &Levels, from_ms: i64, until_ms: i64) -> Option<i64> {
    let begin = levels.partition_point(|(at_ms, _)| *at_ms < from_ms);
    let at_begin = levels[..begin].last()?.1;
    let within = levels[begin..].iter().take_while(|(at_ms, _)| *at_ms <= until_ms);
    Some(within.map(|(_, units)| *units).fold(at_begin, i64::min))
}
