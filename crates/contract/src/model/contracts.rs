//! The contracts of a configuration.

use std::collections::HashMap;
use std::fmt;

use crate::config::Problem;
use crate::model::contract::Contract;
use crate::naming::table::without_default_schema;

/// All problems of a set of contracts, so that one round of corrections is enough.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ContractError {
    /// The problems; at least one.
    pub problems: Vec<Problem>,
}

impl From<Vec<Problem>> for ContractError {
    fn from(problems: Vec<Problem>) -> Self {
        Self { problems }
    }
}

impl fmt::Display for ContractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// source → table → contracts.
type ByTable = HashMap<String, HashMap<String, Vec<usize>>>;

/// The contracts of a configuration, checked against each other.
#[derive(Clone, Debug, Default)]
pub struct Contracts {
    all: Vec<Contract>,
    by_name: HashMap<String, usize>,
    by_table: ByTable,
}

impl Contracts {
    /// Makes the set of `all` contracts.
    ///
    /// # Errors
    /// Two contracts share a name, or can make the same key for different data.
    pub fn new(all: Vec<Contract>) -> Result<Self, ContractError> {
        let mut problems = Vec::new();
        for (at, contract) in all.iter().enumerate() {
            for earlier in &all[..at] {
                problems.extend(clash(earlier, contract));
            }
        }
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let (by_name, by_table) = (by_name(&all), by_table(&all));
        Ok(Self { all, by_name, by_table })
    }

    /// Returns the contract named `name`.
    pub fn get(&self, name: &str) -> Option<&Contract> {
        self.by_name.get(name).map(|at| &self.all[*at])
    }

    /// Returns all contracts in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Contract> {
        self.all.iter()
    }

    /// Returns the number of contracts.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns whether there is no contract.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns the contracts that changes of `table` in `source` can invalidate.
    pub fn of_table(&self, source: &str, table: &str) -> impl Iterator<Item = &Contract> {
        let tables = self.by_table.get(source);
        let found = tables.and_then(|tables| tables.get(without_default_schema(table)));
        found.into_iter().flatten().map(|at| &self.all[*at])
    }

    /// Returns the same contracts with the tables of `source` that `resolve` returns another name for.
    #[must_use]
    pub fn with_tables(mut self, source: &str, resolve: impl Fn(&str) -> Option<String>) -> Self {
        let origins = self.all.iter_mut().flat_map(|contract| {
            let joined = contract.joins.iter_mut().map(|joined| &mut joined.origin);
            contract.from.iter_mut().chain(joined)
        });
        for from in origins {
            if from.source == source
                && let Some(table) = resolve(&from.table)
            {
                from.table = table;
            }
        }
        self.by_table = by_table(&self.all);
        self
    }

    /// Returns the contracts of `source`; `is_main`: with those that name no source.
    #[must_use]
    pub fn of_source(&self, source: &str, is_main: bool) -> Self {
        let is_own = |contract: &&Contract| match &contract.from {
            Some(from) => from.source == source,
            None => is_main,
        };
        let all: Vec<Contract> = self.all.iter().filter(is_own).cloned().collect();
        let (by_name, by_table) = (by_name(&all), by_table(&all));
        Self { all, by_name, by_table }
    }

    /// Returns the tables of `source` that contracts are made from, as the contracts spell them, each
    /// once.
    pub fn tables(&self, source: &str) -> Vec<&str> {
        let mut tables: Vec<&str> = Vec::new();
        for from in self.all.iter().flat_map(Contract::origins) {
            if from.source == source && !tables.iter().any(|known| from.is_table(source, known)) {
                tables.push(&from.table);
            }
        }
        tables
    }
}

fn by_name(all: &[Contract]) -> HashMap<String, usize> {
    all.iter().enumerate().map(|(at, contract)| (contract.name.clone(), at)).collect()
}

fn by_table(all: &[Contract]) -> ByTable {
    let mut by_table = ByTable::new();
    for (at, contract) in all.iter().enumerate() {
        for from in contract.origins() {
            let tables = by_table.entry(from.source.clone()).or_default();
            let of_table =
                tables.entry(without_default_schema(&from.table).to_owned()).or_default();
            // A table may be joined with itself.
            if !of_table.contains(&at) {
                of_table.push(at);
            }
        }
    }
    by_table
}

/// Returns the problem of two contracts that share a name or can make the same key.
pub(crate) fn clash(earlier: &Contract, later: &Contract) -> Option<Problem> {
    if earlier.name == later.name {
        return Some(Problem {
            rule: "name-clash",
            path: format!("data.{}", later.name),
            message: format!("there are two contracts named `{}`", later.name),
            help: "rename one of them".to_owned(),
        });
    }
    earlier.key.clashes_with(&later.key).then(|| Problem {
        rule: "key-clash",
        path: format!("data.{}.key", later.name),
        message: format!(
            "`{}` can make the same keys as `{}` of data.{}, so a read of one kind of data could \
             return the other",
            later.key, earlier.key, earlier.name
        ),
        help: "use another service, entity or version in one of them".to_owned(),
    })
}
