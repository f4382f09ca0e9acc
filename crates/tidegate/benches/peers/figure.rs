//! The results of a part.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of the report.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Part {
    pub(crate) title: String,
    /// The options of the run, as written.
    #[serde(default)]
    pub(crate) arguments: String,
    /// Paragraphs: the measurement, its method, and its limits.
    pub(crate) how: Vec<String>,
    pub(crate) figures: Vec<Figure>,
    /// The data of the figures.
    pub(crate) table: Table,
}

/// A measured ratio or count, and its target.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) measured: String,
    pub(crate) target: String,
    pub(crate) met: bool,
}

/// Rows under a header.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Table {
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Figure {
    /// Returns a ratio whose target is at least `least`.
    pub(crate) fn at_least(what: &str, ratio: f64, least: f64) -> Self {
        Self {
            what: what.to_owned(),
            measured: format!("{ratio:.2}×"),
            target: format!("at least {least}×"),
            met: ratio >= least,
        }
    }

    /// Returns a ratio whose target is at most `most`.
    pub(crate) fn at_most(what: &str, ratio: f64, most: f64) -> Self {
        Self {
            what: what.to_owned(),
            measured: format!("{ratio:.2}×"),
            target: format!("at most {most}×"),
            met: ratio <= most,
        }
    }

    /// Returns a count that should be `wanted` in each of several tries.
    pub(crate) fn exactly(what: &str, counts: &[usize], wanted: usize) -> Self {
        let mut seen = counts.to_vec();
        seen.sort_unstable();
        seen.dedup();
        let seen: Vec<String> = seen.iter().map(ToString::to_string).collect();
        Self {
            what: what.to_owned(),
            measured: format!("{} in {} tries", seen.join(" or "), counts.len()),
            target: format!("exactly {wanted}"),
            met: !counts.is_empty() && counts.iter().all(|count| *count == wanted),
        }
    }

    /// Returns a count of `of` that should be 0.
    pub(crate) fn none(what: &str, count: u64, of: u64) -> Self {
        Self {
            what: what.to_owned(),
            measured: format!("{count} of {of}"),
            target: "0".into(),
            met: count == 0 && of > 0,
        }
    }

    pub(crate) fn verdict(&self) -> &'static str {
        if self.met { "met" } else { "**missed**" }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, measured, target, .. } = self;
        write!(f, "{what}: {measured} ({target}: {})", self.verdict().trim_matches('*'))
    }
}

impl Table {
    pub(crate) fn new<const N: usize>(header: [&str; N]) -> Self {
        Self { header: header.map(str::to_owned).into(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

/// Returns the median; of an even number of values the mean of the middle two.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Returns a quantile, linear between the two nearest values; NaN for no values.
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = q * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}
