//! `[local]` and `[local.pools]`: the in-process tier, and the memory that each of its pools is assured of.

use cache::{Assured, MOST_ASSURED};
use serde::Deserialize;

use super::size;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LocalSection {
    pub(super) memory: String,
    pub(super) pools: PoolsSection,
}

impl Default for LocalSection {
    fn default() -> Self {
        Self { memory: "256MiB".into(), pools: PoolsSection::default() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PoolsSection {
    critical: String,
    standard: String,
    ephemeral: String,
}

impl Default for PoolsSection {
    fn default() -> Self {
        let [critical, standard, ephemeral] = ["25%", "25%", "0%"].map(String::from);
        Self { critical, standard, ephemeral }
    }
}

impl PoolsSection {
    /// Returns the pools' bytes, of `memory` bytes in all.
    pub(super) fn check(&self, memory: u64) -> Result<Assured, String> {
        let part = |name: &str, text: &str| {
            part(text, memory).map_err(|err| format!("{name} = {text:?}: {err}"))
        };
        let assured = Assured {
            critical: part("critical", &self.critical)?,
            standard: part("standard", &self.standard)?,
            ephemeral: part("ephemeral", &self.ephemeral)?,
        };
        if assured.total() as f64 > memory as f64 * MOST_ASSURED + 1.0 {
            return Err(format!(
                "together they are {} of {memory} bytes; leave a tenth of `local.memory` to any \
                 pool: at most {:.0} % in all",
                assured.total(),
                MOST_ASSURED * 100.0
            ));
        }
        Ok(assured)
    }
}

/// Parses a share such as `25%`, or a size.
fn part(text: &str, memory: u64) -> Result<u64, String> {
    let Some(percent) = text.trim().strip_suffix('%') else {
        return size::parse(text).map_err(|err| format!("{err}; or a share, such as \"25%\""));
    };
    match percent.trim().parse::<u64>() {
        Ok(percent) if percent <= 100 => {
            Ok(u64::try_from(u128::from(memory) * u128::from(percent) / 100).unwrap_or(memory))
        }
        _ => Err("write a whole number of percent, from 0% to 90%, or a size".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Assured, String> {
        let pools: PoolsSection = toml::from_str(text).map_err(|err| err.to_string())?;
        pools.check(400 << 20)
    }

    #[test]
    fn pool_shares_and_sizes_parsed() {
        let mib = |mib: u64| mib << 20;
        let default = Assured { critical: mib(100), standard: mib(100), ephemeral: 0 };
        assert_eq!(check(""), Ok(default));
        let both = check("critical = \"40%\"\nstandard = \"64MiB\"");
        assert_eq!(both, Ok(Assured { critical: mib(160), standard: mib(64), ephemeral: 0 }));
        assert!(check("critical = \"90%\"\nstandard = \"0%\"").is_ok());
    }

    #[test]
    fn invalid_pool_names_remedy() {
        for (text, hint) in [
            ("critical = \"70%\"", "at most 90 % in all"),
            ("critical = \"half\"", "such as \"25%\""),
            ("standard = \"1000%\"", "from 0% to 90%"),
            ("standard = \"99999999999GiB\"", "is not a size"),
            ("ephmeral = \"1%\"", "unknown field"),
        ] {
            let err = check(text).expect_err(text);
            assert!(err.contains(hint), "{err}");
        }
    }
}
