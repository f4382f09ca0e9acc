//! The command line.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use contract::config::{MAX_DURATION, parse_duration};

/// The parts to measure, and their options.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The names of the parts to measure; empty: all.
    pub(crate) parts: Vec<String>,
    /// `audit`, `alterations`: effective checks to make.
    pub(crate) checks: u64,
    /// `audit`, `alterations`: the longest duration.
    pub(crate) within: Duration,
    /// `audit`, `alterations` and `faults`: commits per second.
    pub(crate) commits_per_s: u32,
    /// `tags`, `growth`: one more number of entries.
    pub(crate) entries: Option<u64>,
    /// `faults`: the only fault; `None`: all.
    pub(crate) fault: Option<String>,
    /// Print the results as JSON, and all else to standard error.
    pub(crate) json: bool,
    /// The options as written.
    pub(crate) arguments: String,
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self {
            parts: Vec::new(),
            checks: 100_000,
            within: Duration::from_secs(60 * 60),
            commits_per_s: 200,
            entries: None,
            fault: None,
            json: false,
            arguments: String::new(),
        };
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            if word == "--json" {
                options.json = true;
                continue;
            }
            if !word.starts_with("--") {
                options.parts.push(word.into());
                continue;
            }
            let value = words.next().with_context(|| format!("{word} needs a value"))?;
            match word {
                "--checks" => options.checks = number(word, value)?,
                "--rate" => options.commits_per_s = number(word, value)?,
                "--entries" => options.entries = Some(number(word, value)?),
                "--for" => {
                    let within = parse_duration(value, Duration::ZERO..=MAX_DURATION);
                    options.within = within.with_context(|| format!("--for {value}"))?;
                }
                "--fault" => options.fault = Some(value.into()),
                _ => bail!("there is no option {word}; see ./bench --help"),
            }
            options.arguments.push_str(&format!(" {word} {value}"));
        }
        Ok(options)
    }
}

fn number<N: FromStr>(option: &str, text: &str) -> Result<N> {
    text.replace('_', "").parse().ok().with_context(|| format!("{option} {text:?} is not a number"))
}
