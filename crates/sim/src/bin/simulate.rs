//! Runs simulated clusters, many seeds or one; see `sim::simulation`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cache::SystemClock;
use clap::Parser;
use coherence::{Clock, Rule};
use parking_lot::Mutex;
use sim::model::composition::{CompositionRule, Omitted};
use sim::simulation::{Options, Tally, fault_kinds, pictures, run};

/// Runs whole clusters on virtual time, with faults planned from a seed, and checks every answer against
/// the recorded history. Exit code 1: a promise was violated; the seed is printed.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Arguments {
    /// The number of seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Simulated hours of each seed, at least 0.034 (two minutes).
    #[arg(long, default_value_t = 0.1)]
    hours: f64,
    /// Start no further seed after this many minutes of real time.
    #[arg(long)]
    minutes: Option<f64>,
    /// The number of seeds to run in parallel; by default the number of processors.
    #[arg(long)]
    threads: Option<usize>,
    /// Run this seed alone and print its outcome.
    #[arg(long)]
    replay: Option<u64>,
    /// With `--replay`: print every event.
    #[arg(long, requires = "replay")]
    trace: bool,
    /// Inject no faults.
    #[arg(long)]
    calm: bool,
    /// Run a second installation, with a database of its own, on the same shared tier.
    #[arg(long)]
    rival: bool,
    /// Omit a rule, such as `FillAboveTombstones`, to check that the omission is detected.
    #[arg(long, value_parser = rule)]
    without: Option<Omitted>,
    /// Inject this kind of fault only, such as `"slot lost"`.
    #[arg(long, value_parser = fault)]
    only: Option<&'static str>,
    /// Continue after a violation.
    #[arg(long)]
    keep_going: bool,
    /// Run no seeds, but draw the scenes of `docs/coherence.md` into this folder.
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<PathBuf>,
}

fn rule(name: &str) -> Result<Omitted, String> {
    let composition = CompositionRule::ALL.iter().map(|rule| Omitted::Composition(*rule));
    let rules = Rule::ALL.iter().map(|rule| Omitted::Rule(*rule));
    let all: Vec<(String, Omitted)> =
        rules.chain(composition).map(|rule| (rule_name(rule), rule)).collect();
    let found = all.iter().find(|(known, _)| known == name).map(|(_, rule)| *rule);
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        format!("unknown rule; the rules are {}", names.join(", "))
    })
}

fn rule_name(rule: Omitted) -> String {
    match rule {
        Omitted::None => "none".to_owned(),
        Omitted::Rule(rule) => format!("{rule:?}"),
        Omitted::Composition(rule) => format!("{rule:?}"),
    }
}

fn fault(name: &str) -> Result<&'static str, String> {
    let known = || fault_kinds().collect::<Vec<_>>();
    fault_kinds()
        .find(|kind| *kind == name)
        .ok_or_else(|| format!("unknown fault; the faults are {:?}", known()))
}

#[expect(clippy::print_stdout, reason = "the report is the purpose of the program")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.pictures {
        return match draw(folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(err) => {
                println!("{}: {err}", folder.display());
                ExitCode::FAILURE
            }
        };
    }
    let clock = SystemClock::start();
    let began = clock.mono();
    let options = Options {
        lasts: Duration::try_from_secs_f64(arguments.hours * 3_600.0).unwrap_or_default(),
        faults: !arguments.calm,
        without: arguments.without.unwrap_or_default(),
        rival: arguments.rival,
        only: arguments.only,
        trace: arguments.trace,
    };
    let mut tally = Tally::default();
    if let Some(seed) = arguments.replay {
        let outcome = run(seed, &options);
        outcome.lines.iter().for_each(|line| println!("{line}"));
        tally.add(&outcome);
    } else {
        tally = many(&arguments, &options, &clock);
    }
    println!("{tally}");
    println!("{:.1} s of real time", clock.mono().since(began).as_secs_f64());
    let Some(seed) = tally.violations.keys().next() else { return ExitCode::SUCCESS };
    let mut again = format!("--replay {seed} --hours {}", arguments.hours);
    if arguments.calm {
        again += " --calm";
    }
    if let Some(rule) = arguments.without {
        again += &format!(" --without {}", rule_name(rule));
    }
    if arguments.rival {
        again += " --rival";
    }
    if let Some(fault) = arguments.only {
        again += &format!(" --only {fault:?}");
    }
    println!("to repeat it with all events: simulate {again} --trace");
    ExitCode::FAILURE
}

#[expect(clippy::print_stdout, reason = "the list of files is the result")]
fn draw(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for picture in pictures() {
        let path = folder.join(picture.file);
        std::fs::write(&path, picture.svg)?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Runs many seeds, each on one thread.
fn many(arguments: &Arguments, options: &Options, clock: &SystemClock) -> Tally {
    let began = clock.mono();
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or_else(cores).max(1);
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let spent = clock.mono().since(began).as_secs_f64() / 60.0;
            if number >= arguments.seeds || arguments.minutes.is_some_and(|most| spent >= most) {
                return;
            }
            let outcome = run(arguments.from.wrapping_add(number), options);
            if outcome.violation.is_some() && !arguments.keep_going {
                stop.store(true, Ordering::Relaxed);
            }
            tally.lock().add(&outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    tally.into_inner()
}
