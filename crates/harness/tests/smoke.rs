//! A short run of the demo in the README. It needs a release build, so `./test` runs it:
//! `TIDEGATE_SMOKE=target/release/tidegate cargo test --workspace --test smoke -- --ignored`.

use std::path::Path;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::Process;
use serde_json::Value;

const RUN: &str = "10s";
const STORM: &str = "15s";
/// Includes start, end and summary; generous, for a busy machine with two cores.
const DEMO_TIMEOUT: Duration = Duration::from_secs(120);
/// The alternatives that the demo compares with Tidegate.
const ARMS: [&str; 3] = ["no_cache", "ttl_only", "delete_on_write"];

/// Each run needs the machine for itself.
static MACHINE: Mutex<()> = Mutex::new(());

/// Runs the demo to its good end and returns its summary, as text and parsed.
fn demo(args: &[&str]) -> Result<(String, Value)> {
    let (status, printed, text) = run(args)?;
    assert!(status.success(), "{status}\n{printed}");
    assert!(!printed.contains("no change log yet"), "a false alarm at the start:\n{printed}");
    let summary = serde_json::from_str(&text)?;
    Ok((text, summary))
}

/// Runs the demo and returns how it ended, all it has printed, and its summary.
fn run(args: &[&str]) -> Result<(ExitStatus, String, String)> {
    let _machine = MACHINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let program = std::env::var("TIDEGATE_SMOKE").context("TIDEGATE_SMOKE names the program")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("summary.json");
    let mut demo = Process::builder(root.join(program))
        .args(["demo"].iter().chain(args))
        .arg("--json")
        .arg(&file)
        .folder(folder.path())
        .start()?;
    let status = demo.wait(DEMO_TIMEOUT)?;
    let printed = demo.lines().join("\n");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("the summary was not written\n{printed}"))?;
    Ok((status, printed, text))
}

#[test]
#[ignore = "needs a release build and fifteen seconds of both cores; run by ./test"]
fn storm_survived_only_with_governor() -> Result<()> {
    let (text, summary) = demo(&["--storm", "--for", STORM])?;
    let without = &summary["compare"]["without_governor"];
    has_all_keys("tidegate", &summary);
    has_all_keys("without_governor", without);
    let load = number(&summary, "/storm/origin_requests_per_second/tidegate");
    let limit = number(&summary, "/storm/origin_limit_per_second");
    assert!(load <= limit, "{load} requests a second of {limit} in\n{text}");
    assert_eq!(number(&summary, "/errors"), 0.0, "errors with the governor in\n{text}");
    assert_eq!(number(&summary, "/stale_beyond_contract"), 0.0, "stale answers in\n{text}");
    let bound = number(&summary, "/worst_bound_ms");
    assert!(bound <= 1e3 * number(&summary, "/storm/budget_seconds"), "{bound} ms in\n{text}");
    assert!(number(&summary, "/audited") > 1000.0, "too few answers were audited in\n{text}");
    let errors = number(without, "/errors") / number(without, "/requests");
    assert!(errors > 0.2, "only {errors} of the reads failed without the governor in\n{text}");
    Ok(())
}

#[test]
#[ignore = "needs a release build and a few seconds of both cores; run by ./test"]
fn flash_sale_sells_each_unit_once() -> Result<()> {
    let (status, _, text) = run(&["--sale"])?;
    let summary: Value = serde_json::from_str(&text)?;
    // A busy machine refuses later than it should, and the run says so.
    assert_eq!(summary["passed"], status.success(), "{text}");
    assert_eq!(number(&summary, "/shops/tidegate/charged_twice"), 0.0, "{text}");
    assert_eq!(number(&summary, "/shops/tidegate/paid_without_order"), 0.0, "{text}");
    assert_eq!(number(&summary, "/shops/tidegate/sold"), 100.0, "{text}");
    assert_eq!(number(&summary, "/shops/tidegate/answered"), 10_000.0, "{text}");
    let usual = number(&summary, "/shops/as_usual/sold");
    assert!(usual > 100.0, "the usual shop sold {usual} of 100 units in\n{text}");
    Ok(())
}

#[test]
#[ignore = "needs a release build and six seconds of both cores; run by ./test"]
fn overloaded_demo_gives_no_verdict() -> Result<()> {
    let (status, printed, text) = run(&["--rate", "100000", "--for", "6s"])?;
    assert_eq!(status.code(), Some(1), "{printed}");
    assert!(printed.contains("The machine was overloaded"), "{printed}");
    assert!(!printed.contains("kept every contract"), "{printed}");
    let summary = serde_json::from_str(&text)?;
    assert_eq!(number(&summary, "/stale_beyond_contract"), 0.0, "stale answers in\n{text}");
    Ok(())
}

#[test]
#[ignore = "needs a release build and ten seconds of both cores; run by ./test"]
fn demo_never_stale_beyond_contracts() -> Result<()> {
    let (text, summary) = demo(&["--for", RUN])?;
    let arms: Vec<(&str, &Value)> = std::iter::once(("tidegate", &summary))
        .chain(ARMS.map(|arm| (arm, &summary["compare"][arm])))
        .collect();
    for (name, arm) in &arms {
        has_all_keys(name, arm);
        assert_eq!(number(arm, "/errors"), 0.0, "{name}: errors in\n{text}");
        assert!(number(arm, "/audited") > 0.0, "{name}: no answer was audited in\n{text}");
        assert_eq!(
            number(arm, "/requests"),
            number(&summary, "/requests"),
            "{name}: all arms get the same requests in\n{text}"
        );
    }
    // On a busy machine the demo runs at the rate that it has measured.
    assert!(number(&summary, "/requests") > 200.0, "too few requests in\n{text}");
    assert!(number(&summary, "/invalidations") > 0.0, "no invalidation in\n{text}");
    assert!(number(&summary, "/hit_rate") > 0.3, "too few hits in\n{text}");
    assert_eq!(number(&summary, "/stale_beyond_contract"), 0.0, "stale answers in\n{text}");
    assert_eq!(
        number(arms[1].1, "/stale_beyond_contract"),
        0.0,
        "the audit reports stale answers without a cache in\n{text}"
    );
    assert!(
        number(arms[2].1, "/stale_beyond_contract") > 0.0,
        "ten seconds of TTL without a stale answer in\n{text}"
    );
    Ok(())
}

/// Asserts that an arm has the counts and rates of all arms, and the keys of some arms, which may be
/// null elsewhere.
fn has_all_keys(name: &str, arm: &Value) {
    let always = [
        "/requests",
        "/errors",
        "/hit_rate",
        "/hits/local",
        "/hits/shared",
        "/hits/edge",
        "/origin_requests",
        "/latency_ms/mean",
        "/latency_ms/p50",
        "/latency_ms/p99",
        "/audited",
        "/stale_beyond_contract",
        "/worst_staleness_ms",
    ];
    let sometimes =
        ["/invalidations", "/commit_to_gone_ms/p50", "/commit_to_gone_ms/p99", "/worst_bound_ms"];
    for key in always {
        assert!(arm.pointer(key).is_some_and(Value::is_number), "{name}: {key} in\n{arm:#}");
    }
    for key in sometimes {
        let number_or_null = |value: &Value| value.is_number() || value.is_null();
        assert!(arm.pointer(key).is_some_and(number_or_null), "{name}: {key} in\n{arm:#}");
    }
    let hit_rate = number(arm, "/hit_rate");
    assert!((0.0..=1.0).contains(&hit_rate), "{name}: hit_rate is {hit_rate}");
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
}
