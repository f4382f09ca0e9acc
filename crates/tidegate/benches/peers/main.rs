//! Tidegate beside its peers: every figure is a ratio within one run, on one machine.
//!
//! `./bench` installs nothing, checks what is there, runs all parts and rewrites
//! `docs/benchmarks.md`; `./bench gateway` measures one part again. Without that script:
//! `cargo bench -p tidegate --bench peers -- gateway`.

mod bare;
mod cold;
mod commit;
mod figure;
mod gateway;
mod http1;
mod machine;
mod process;
mod report;
mod stack;
mod tier;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use figure::Part;

/// A part's name, and what measures it.
type Measure = (&'static str, fn() -> Result<Part>);

const PARTS: [Measure; 5] = [
    ("local", tier::hits),
    ("gateway", gateway::measure),
    ("commit", commit::measure),
    ("cold", cold::measure),
    ("memory", tier::memory),
];

fn main() -> ExitCode {
    // Cargo adds a flag of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words[..] {
        // The peer that runs in a process of its own.
        ["bare", port] => bare::run(port),
        [] => parts(&PARTS.map(|(name, _)| name)),
        _ => parts(&words),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            say(&format!("failed: {err:?}"));
            ExitCode::FAILURE
        }
    }
}

/// Measures these parts and writes them into the report. One that fails does not keep the others
/// from being measured.
fn parts(names: &[&str]) -> Result<()> {
    let known = PARTS.map(|(name, _)| name).join(", ");
    let mut failed = Vec::new();
    for name in names {
        let Some((_, measure)) = PARTS.iter().find(|(known, _)| known == name) else {
            bail!("there is no part {name:?}; there are: {known}");
        };
        say(&format!("\n== {name}"));
        let began = now();
        match measure() {
            Ok(part) => {
                for figure in &part.figures {
                    say(&format!("  {figure}"));
                }
                report::keep(name, &part)?;
                say(&format!("== {name}: {} s", began.elapsed().as_secs()));
            }
            Err(err) => {
                say(&format!("== {name}: failed: {err:?}"));
                failed.push(*name);
            }
        }
    }
    say(&format!("\n{} rewritten", report::write(&PARTS.map(|(name, _)| name))?));
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark reports on its standard output")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}
