//! Tidegate compared with its peers: every figure is a ratio within one run, on one machine.
//!
//! `./bench` installs nothing, checks the installed programs, runs all parts and rewrites
//! `docs/benchmarks.md`; `./bench gateway` measures one part again. Without that script:
//! `cargo bench -p tidegate --bench peers -- gateway`.

mod audit;
mod bare;
mod cold;
mod commit;
mod connections;
mod feed;
mod figure;
mod gateway;
mod growth;
mod http1;
mod machine;
mod options;
mod output;
mod process;
mod report;
mod sale;
mod stack;
mod tags;
mod tier;
mod tombstones;

use std::process::ExitCode;

use anyhow::{Result, bail};

use figure::Part;
use options::Options;
use output::{log_line, now, print};

/// A part's name and its benchmark.
type Benchmark = (&'static str, fn(&Options) -> Result<Part>);

const PARTS: [Benchmark; 15] = [
    ("local", |_| tier::hits()),
    ("gateway", |_| gateway::measure()),
    ("connections", |_| connections::measure()),
    ("commit", |_| commit::measure()),
    ("cold", |_| cold::measure()),
    ("memory", |_| tier::memory()),
    ("growth", growth::measure),
    ("proof", |_| tier::proof()),
    ("feed", |_| feed::measure()),
    ("marks", |_| tombstones::measure()),
    ("tags", tags::measure),
    ("sale", |_| sale::measure()),
    ("audit", audit::measure),
    ("alterations", audit::measure_altered),
    ("faults", audit::faults),
];

fn main() -> ExitCode {
    // Cargo adds this flag.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words[..] {
        // The peer that runs in its own process.
        ["bare", port] => bare::run(port),
        _ => Options::parse(&args).and_then(|options| parts(&options)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            log_line(&format!("failed: {err:?}"));
            ExitCode::FAILURE
        }
    }
}

/// Measures the parts and writes them to the report. A part that fails does not stop the others.
fn parts(options: &Options) -> Result<()> {
    output::reserve_stdout(options.json);
    let all = PARTS.map(|(name, _)| name);
    let chosen: Vec<&str> = options.parts.iter().map(String::as_str).collect();
    let names = if chosen.is_empty() { &all[..] } else { &chosen };
    let (mut failed, mut measured) = (Vec::new(), serde_json::Map::new());
    for name in names {
        let Some((_, measure)) = PARTS.iter().find(|(known, _)| known == name) else {
            bail!("there is no part {name:?}; there are: {}", all.join(", "));
        };
        log_line(&format!("\n== {name}"));
        let began = now();
        match measure(options) {
            Ok(part) => {
                for figure in &part.figures {
                    log_line(&format!("  {figure}"));
                }
                report::store(name, &part)?;
                log_line(&format!("== {name}: {} s", began.elapsed().as_secs()));
                measured.insert((*name).to_owned(), serde_json::to_value(&part)?);
            }
            Err(err) => {
                log_line(&format!("== {name}: failed: {err:?}"));
                failed.push(*name);
            }
        }
    }
    log_line(&format!("\n{} rewritten", report::write(&all)?));
    if options.json {
        print(&serde_json::to_string_pretty(&measured)?);
    }
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(())
}
