//! `[local]` and `[local.pools]`: the in-process tier, and the memory that each of its pools is assured of.

use contract::config::{TableReader, ValueError, parse_size};

use super::pools::{Assured, MOST_ASSURED};

const DEFAULT_BYTES: u64 = 256 << 20;

const MIN_BYTES: u64 = 1 << 20;

/// The memory of the in-process tier. By default 256 MiB, of which a quarter each is assured to the pools
/// `critical` and `standard`.
#[derive(Clone, Copy, Debug)]
pub struct LocalMemory {
    /// The size limit in bytes, at least 1 MiB.
    pub bytes: u64,
    /// The bytes that each pool is assured of; together at most [`MOST_ASSURED`] of the limit.
    pub assured: Assured,
}

impl Default for LocalMemory {
    fn default() -> Self {
        Self { bytes: DEFAULT_BYTES, assured: Parts::default().of(DEFAULT_BYTES) }
    }
}

impl LocalMemory {
    /// The keys of `[local]`.
    pub const KEYS: &[&str] = &["memory", "pools"];

    /// The keys of `[local.pools]`.
    pub const POOL_KEYS: &[&str] = &["critical", "standard", "ephemeral"];

    /// Reads `[local]`. With problems, the values are defaults where they could not be read.
    pub fn read(table: &mut TableReader<'_>) -> Self {
        let bytes = table.size("memory", MIN_BYTES..=u64::MAX);
        let bytes = bytes.or_else(|| (!table.has("memory")).then_some(DEFAULT_BYTES));
        let parts = table.nested("pools", Self::POOL_KEYS, |pools| Some(Parts::read(pools)));
        let parts = parts.unwrap_or_default();
        let Some(bytes) = bytes else { return Self::default() };
        let assured = parts.of(bytes);
        if assured.total() as f64 > bytes as f64 * MOST_ASSURED + 1.0 {
            let message = format!("together they are {} of {bytes} bytes", assured.total());
            let most = MOST_ASSURED * 100.0;
            let help =
                format!("leave a tenth of `local.memory` to any pool: at most {most:.0} % in all");
            table.problem("out-of-range", "pools", message, help);
        }
        Self { bytes, assured }
    }
}

impl LocalMemory {
    /// Returns the share of each of `tiers` in-process tiers.
    #[must_use]
    pub fn shared_by(self, tiers: usize) -> Self {
        let share = |bytes: u64| bytes / (tiers.max(1) as u64);
        let Self { bytes, assured: Assured { critical, standard, ephemeral } } = self;
        let assured = Assured {
            critical: share(critical),
            standard: share(standard),
            ephemeral: share(ephemeral),
        };
        Self { bytes: share(bytes), assured }
    }
}

/// The parts of the pools.
#[derive(Clone, Copy, Debug)]
struct Parts {
    critical: Part,
    standard: Part,
    ephemeral: Part,
}

/// The part of one pool.
#[derive(Clone, Copy, Debug)]
enum Part {
    Percent(u64),
    Bytes(u64),
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            critical: Part::Percent(25),
            standard: Part::Percent(25),
            ephemeral: Part::Percent(0),
        }
    }
}

impl Parts {
    fn read(table: &mut TableReader<'_>) -> Self {
        let default = Self::default();
        Self {
            critical: table.text_with("critical", part).unwrap_or(default.critical),
            standard: table.text_with("standard", part).unwrap_or(default.standard),
            ephemeral: table.text_with("ephemeral", part).unwrap_or(default.ephemeral),
        }
    }

    /// Returns the pools' bytes, of `memory` bytes in all.
    fn of(self, memory: u64) -> Assured {
        let bytes = |part| match part {
            Part::Percent(percent) => {
                let bytes = u128::from(memory) * u128::from(percent) / 100;
                u64::try_from(bytes).unwrap_or(memory)
            }
            Part::Bytes(bytes) => bytes,
        };
        Assured {
            critical: bytes(self.critical),
            standard: bytes(self.standard),
            ephemeral: bytes(self.ephemeral),
        }
    }
}

/// Parses a share such as `25%`, or a size.
fn part(text: &str) -> Result<Part, ValueError> {
    let Some(percent) = text.trim().strip_suffix('%') else {
        let bytes = parse_size(text, MIN_BYTES..=u64::MAX);
        return bytes.map(Part::Bytes).map_err(|err| {
            let help = format!("{}; or a share, such as \"25%\"", err.help);
            ValueError { help, ..err }
        });
    };
    match percent.trim().parse::<u64>() {
        Ok(percent) if percent <= 100 => Ok(Part::Percent(percent)),
        _ => {
            let help = "write a whole number of percent, from 0% to 90%, or a size";
            Err(ValueError::wrong_value(format!("`{text}` is not a share"), help))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `[local]`.
    fn read(text: &str) -> Result<LocalMemory, String> {
        let table: toml::Table = text.parse().expect("TOML");
        let mut reader = TableReader::new("local", &table, LocalMemory::KEYS);
        let local = LocalMemory::read(&mut reader);
        let problems = |problems: Vec<contract::Problem>| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        reader.finish(Some(local)).map_err(problems)
    }

    fn read_pools(text: &str) -> Result<Assured, String> {
        read(&format!("memory = \"400MiB\"\n[pools]\n{text}")).map(|local| local.assured)
    }

    #[test]
    fn memory_accepts_units_in_any_case() {
        for text in ["memory = \"256MiB\"", "memory = \"256mib\"", "memory = 268435456", ""] {
            assert_eq!(read(text).expect(text).bytes, 256 << 20, "{text}");
        }
        for text in ["memory = \"1kB\"", "memory = \"1.5GiB\"", "memory = \"12 parsecs\""] {
            let err = read(text).expect_err(text);
            assert!(err.contains("local.memory: ") && err.contains("at least 1MiB"), "{err}");
        }
    }

    #[test]
    fn pool_shares_and_sizes_parsed() {
        let mib = |mib: u64| mib << 20;
        let default = Assured { critical: mib(100), standard: mib(100), ephemeral: 0 };
        assert_eq!(read_pools(""), Ok(default));
        let both = read_pools("critical = \"40%\"\nstandard = \"64mib\"");
        assert_eq!(both, Ok(Assured { critical: mib(160), standard: mib(64), ephemeral: 0 }));
        assert!(read_pools("critical = \"90%\"\nstandard = \"0%\"").is_ok());
    }

    #[test]
    fn invalid_pool_names_remedy() {
        for (text, hint) in [
            ("critical = \"70%\"", "local.pools: together"),
            ("critical = \"70%\"", "at most 90 % in all"),
            ("critical = \"half\"", "such as \"25%\""),
            ("standard = \"1000%\"", "from 0% to 90%"),
            ("standard = \"99999999999GiB\"", "is not a size"),
            ("ephmeral = \"1%\"", "did you mean `ephemeral`?"),
        ] {
            let err = read_pools(text).expect_err(text);
            assert!(err.contains(hint), "{err}");
        }
    }
}
