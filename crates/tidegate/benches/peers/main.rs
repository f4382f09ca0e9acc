//! Tidegate beside its peers: every figure is a ratio within one run, on one machine.
//!
//! `./bench` installs nothing, checks what is there, runs all parts and rewrites
//! `docs/benchmarks.md`; `./bench gateway` measures one part again. Without that script:
//! `cargo bench -p tidegate --bench peers -- gateway`.

mod audit;
mod bare;
mod cold;
mod commit;
mod feed;
mod figure;
mod gateway;
mod http1;
mod machine;
mod marks;
mod options;
mod process;
mod report;
mod stack;
mod tier;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};

use figure::Part;
use options::Options;

/// A part's name, and what measures it.
type Measure = (&'static str, fn(&Options) -> Result<Part>);

const PARTS: [Measure; 10] = [
    ("local", |_| tier::hits()),
    ("gateway", |_| gateway::measure()),
    ("commit", |_| commit::measure()),
    ("cold", |_| cold::measure()),
    ("memory", |_| tier::memory()),
    ("proof", |_| tier::proof()),
    ("feed", |_| feed::measure()),
    ("marks", |_| marks::measure()),
    ("audit", audit::measure),
    ("faults", audit::faults),
];

/// Whether standard output is for the results as JSON.
static JSON: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    // Cargo adds a flag of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words[..] {
        // The peer that runs in a process of its own.
        ["bare", port] => bare::run(port),
        _ => Options::parse(&args).and_then(|options| parts(&options)),
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
fn parts(options: &Options) -> Result<()> {
    JSON.store(options.json, Ordering::Relaxed);
    let all = PARTS.map(|(name, _)| name);
    let named: Vec<&str> = options.parts.iter().map(String::as_str).collect();
    let names = if named.is_empty() { &all[..] } else { &named };
    let (mut failed, mut measured) = (Vec::new(), serde_json::Map::new());
    for name in names {
        let Some((_, measure)) = PARTS.iter().find(|(known, _)| known == name) else {
            bail!("there is no part {name:?}; there are: {}", all.join(", "));
        };
        say(&format!("\n== {name}"));
        let began = now();
        match measure(options) {
            Ok(part) => {
                for figure in &part.figures {
                    say(&format!("  {figure}"));
                }
                report::keep(name, &part)?;
                say(&format!("== {name}: {} s", began.elapsed().as_secs()));
                measured.insert((*name).to_owned(), serde_json::to_value(&part)?);
            }
            Err(err) => {
                say(&format!("== {name}: failed: {err:?}"));
                failed.push(*name);
            }
        }
    }
    say(&format!("\n{} rewritten", report::write(&all)?));
    if options.json {
        print(&serde_json::to_string_pretty(&measured)?);
    }
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(())
}

/// Says something to whoever looks on.
#[expect(clippy::print_stderr, reason = "a benchmark reports on its standard output, or beside it")]
fn say(line: &str) {
    if JSON.load(Ordering::Relaxed) { eprintln!("{line}") } else { print(line) }
}

#[expect(clippy::print_stdout, reason = "a benchmark reports on its standard output")]
fn print(line: &str) {
    println!("{line}");
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}
