//! Requests that schemathesis makes of the descriptions, for `./test --api`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::checkout::rehearsal::Rehearsal;

const MADE_OF_SCHEMAS: &str = "examples,coverage,fuzzing";

/// Checks that every run leaves out: this node has no tokens, and a hold that was given up can still be read.
const LEFT_OUT: &str = "ignored_auth,object_level_authorization,use_after_free";

/// The ids, keys and tags of the data and admin API have a syntax, and depend on the contracts.
const NAMES: &str = "positive_data_acceptance";

/// Along links, schemathesis takes a body that may be absent for an invalid one.
const ABSENT_BODIES: &str = "negative_data_rejection";

/// Returns whether there were no findings. `phases`: the ways in which requests are made.
fn run(seconds: &str, at: SocketAddr, phases: &str, left_out: &str) -> bool {
    let program = std::env::var("TIDEGATE_SCHEMATHESIS").expect("TIDEGATE_SCHEMATHESIS");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci");
    let status = Command::new(program)
        .env("SCHEMATHESIS_HOOKS", folder.join("api_hooks.py"))
        .arg("--config-file")
        .arg(folder.join("schemathesis.toml"))
        .args(["run", &format!("http://{at}/openapi.json"), "--max-time", seconds])
        .args(["--phases", phases, "--warnings", "off"])
        .args(["--exclude-checks", &format!("{LEFT_OUT},{left_out}")])
        .current_dir(std::env::temp_dir())
        .status();
    status.expect("schemathesis runs").success()
}

#[test]
#[ignore = "./test --api downloads schemathesis and sets these variables"]
fn apis_hold_their_descriptions() {
    let seconds = std::env::var("TIDEGATE_API_SECONDS").unwrap_or_else(|_| "60".to_owned());
    let mut shop = Rehearsal::start();
    shop.stand.more += "\n[jobs.export]\nclass = \"low\"\n";
    let (node, client) = shop.node();
    client.put("A", &json!({ "on_hand": 1_000_000 }));
    let runs = [
        ("sale", node.sale, MADE_OF_SCHEMAS, "ensure_resource_availability"),
        ("sale, by links", node.sale, "stateful", ABSENT_BODIES),
        ("data", node.data, MADE_OF_SCHEMAS, NAMES),
        ("admin", node.admin, MADE_OF_SCHEMAS, NAMES),
    ];
    let failed: Vec<&str> = runs
        .into_iter()
        .filter(|(_, at, phases, left_out)| !run(&seconds, *at, phases, left_out))
        .map(|(name, ..)| name)
        .collect();
    shop.check();
    assert!(failed.is_empty(), "findings of schemathesis: {failed:?}");
}
