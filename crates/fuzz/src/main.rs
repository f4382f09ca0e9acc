//! One target under libFuzzer, selected by `TIDEGATE_FUZZ_TARGET`. `./test --fuzz` runs it.
#![no_main]

use std::sync::OnceLock;

use fuzz::{TARGETS, Target};

static TARGET: OnceLock<&Target> = OnceLock::new();

/// Selects the target, and writes its seeds to `TIDEGATE_FUZZ_SEEDS`.
fn select() {
    let name = std::env::var("TIDEGATE_FUZZ_TARGET").unwrap_or_default();
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| panic!("TIDEGATE_FUZZ_TARGET is one of {names:?}"));
    if let Some(folder) = std::env::var_os("TIDEGATE_FUZZ_SEEDS") {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            let file = std::path::Path::new(&folder).join(format!("seed-{number}"));
            std::fs::write(file, seed).expect("the folder can be written");
        }
    }
    let _ = TARGET.set(target);
}

libfuzzer_sys::fuzz_target!(init: select(), |bytes: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.run)(bytes);
    }
});
