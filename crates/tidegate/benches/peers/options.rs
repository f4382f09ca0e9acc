//! What the command line asks for.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Parts by name, and what the parts that have a choice are told.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The parts to measure; none: all of them.
    pub(crate) parts: Vec<String>,
    /// `audit`: effective checks to make.
    pub(crate) checks: u64,
    /// `audit`: the longest it may take.
    pub(crate) within: Duration,
    /// `audit` and `faults`: commits per second.
    pub(crate) commits_per_s: u32,
    /// `faults`: the only one; none: all of them.
    pub(crate) fault: Option<String>,
    /// Print the results as JSON, and everything else on standard error.
    pub(crate) json: bool,
    /// The options as they were written.
    pub(crate) said: String,
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self {
            parts: Vec::new(),
            checks: 100_000,
            within: Duration::from_secs(60 * 60),
            commits_per_s: 200,
            fault: None,
            json: false,
            said: String::new(),
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
                "--for" => {
                    let within = humantime::parse_duration(value);
                    options.within = within.with_context(|| format!("--for {value}"))?;
                }
                "--fault" => options.fault = Some(value.into()),
                _ => bail!("there is no option {word}; see ./bench --help"),
            }
            options.said.push_str(&format!(" {word} {value}"));
        }
        Ok(options)
    }
}

fn number<N: FromStr>(option: &str, text: &str) -> Result<N> {
    text.replace('_', "").parse().ok().with_context(|| format!("{option} {text:?} is no number"))
}
