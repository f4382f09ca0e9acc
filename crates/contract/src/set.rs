use std::collections::HashMap;

use crate::affected::{Affected, bare};
use crate::contract::Contract;
use crate::row::RowChange;
use crate::toml_in::{ContractError, Problem};

/// The contracts of a configuration, checked against each other.
#[derive(Clone, Debug, Default)]
pub struct Contracts {
    all: Vec<Contract>,
    by_name: HashMap<String, usize>,
    /// source → table → contracts.
    by_table: HashMap<String, HashMap<String, Vec<usize>>>,
}

impl Contracts {
    /// Puts contracts together.
    ///
    /// # Errors
    /// Two contracts share a name, or can give the same key to different data.
    pub fn new(all: Vec<Contract>) -> Result<Self, ContractError> {
        let mut problems = Vec::new();
        for (at, contract) in all.iter().enumerate() {
            for earlier in &all[..at] {
                problems.extend(clash(earlier, contract));
            }
        }
        if !problems.is_empty() {
            return Err(ContractError { problems });
        }
        let mut by_name = HashMap::new();
        let mut by_table: HashMap<String, HashMap<String, Vec<usize>>> = HashMap::new();
        for (at, contract) in all.iter().enumerate() {
            by_name.insert(contract.name.clone(), at);
            if let Some(from) = &contract.from {
                let tables = by_table.entry(from.source.clone()).or_default();
                tables.entry(bare(&from.table).to_owned()).or_default().push(at);
            }
        }
        Ok(Self { all, by_name, by_table })
    }

    /// Reads the `[data]` table: one contract for each of its tables.
    ///
    /// # Errors
    /// Every problem of every contract, not only the first.
    pub fn from_toml(data: &toml::Table) -> Result<Self, ContractError> {
        let mut all = Vec::with_capacity(data.len());
        let mut problems = Vec::new();
        for (name, value) in data {
            let parsed = match value {
                toml::Value::Table(table) => Contract::from_toml(name, table),
                other => Err(Problem::not_a_table(name, other).into()),
            };
            match parsed {
                Ok(contract) => all.push(contract),
                Err(err) => problems.extend(err.problems),
            }
        }
        if problems.is_empty() { Self::new(all) } else { Err(ContractError { problems }) }
    }

    /// The contract of that name.
    pub fn get(&self, name: &str) -> Option<&Contract> {
        self.by_name.get(name).map(|at| &self.all[*at])
    }

    /// All contracts, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Contract> {
        self.all.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The contracts that changes of `table` in `source` can touch.
    pub fn of_table(&self, source: &str, table: &str) -> impl Iterator<Item = &Contract> {
        let tables = self.by_table.get(source);
        let found = tables.and_then(|tables| tables.get(bare(table)));
        found.into_iter().flatten().map(|at| &self.all[*at])
    }

    /// The tables of `source` that some contract follows, as written there, each once.
    pub fn tables(&self, source: &str) -> Vec<&str> {
        let mut tables: Vec<&str> = Vec::new();
        for from in self.all.iter().filter_map(|contract| contract.from.as_ref()) {
            if from.source == source && !tables.iter().any(|known| bare(known) == bare(&from.table))
            {
                tables.push(&from.table);
            }
        }
        tables
    }

    /// What `change` invalidates of all contracts, each key and tag once.
    pub fn affected(&self, change: &RowChange) -> Affected {
        let mut out = Affected::default();
        for contract in self.of_table(&change.source, &change.table) {
            let more = contract.affected(change);
            if out.is_empty() {
                out = more;
            } else {
                out.merge(more);
            }
        }
        out
    }
}

/// What is wrong with two contracts side by side.
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
            "`{}` can make the same keys as `{}` of data.{}, so one kind of data would be \
             answered with the other",
            later.key, earlier.key, earlier.name
        ),
        help: "give one of them another service, entity or version".to_owned(),
    })
}
