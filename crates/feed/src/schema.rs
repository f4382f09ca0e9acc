//! The definitions that contracts depend on, beside the rows of their tables.

use std::collections::{BTreeMap, BTreeSet};

use coherence::ObjectDigests;
use coherence::applied_schema::total_digest;

use crate::table::TableName;

/// A contract, as far as its definitions are followed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScopedContract {
    /// The contract's name.
    pub name: String,
    /// The tables whose rows change its values: its own, and the joined ones.
    pub tables: Vec<ScopedTable>,
    /// The tables of other contracts whose tags its entries carry.
    pub raising: Vec<TableName>,
    /// The statement that loads a value, with `$1` for each of its parameters. `None` where no statement does.
    pub value: Option<String>,
    /// Whether the contract says when its values change by the clock.
    pub changes_by_clock: bool,
}

/// A table of a contract.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScopedTable {
    /// The table.
    pub name: TableName,
    /// The name as the contract spells it, if it leaves the schema to the session's search path.
    pub bare_name: Option<String>,
    /// Its columns whose changes count; empty if all do.
    pub watched: Vec<String>,
}

impl ScopedContract {
    /// Returns a digest of the contract's text.
    fn definition(&self) -> u64 {
        let tables: Vec<String> = self.tables.iter().map(|table| table.name.to_string()).collect();
        let value = self.value.as_deref().unwrap_or_default();
        let parts = [&*self.name, &*tables.join(" "), value];
        contract::fnv1a(parts.into_iter().flat_map(|part| part.bytes().chain([0])))
    }
}

/// The objects of the catalogue that a set of contracts depends on, at one time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Schema {
    objects: ObjectDigests,
    /// The sum of the digests that the database computes.
    digest: u64,
    /// The contracts that depend on each object; an object of every contract is not in here.
    dependents: BTreeMap<String, BTreeSet<String>>,
    /// The objects that values read, and whose changes of rows are not followed.
    pub unfollowed: BTreeSet<UnfollowedRead>,
}

/// An object that the value of a contract reads, and whose changes reach no event.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct UnfollowedRead {
    /// The contract.
    pub contract: String,
    /// The object.
    pub read: ReadObject,
}

/// The object of an [`UnfollowedRead`].
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ReadObject {
    /// A table, materialized view or foreign table that no contract follows whose tags reach the entries.
    Table(String),
    /// A column of the contract's own table that `from.columns` leaves out, and that a view, function or row policy
    /// reads.
    Column(String),
    /// A function, whose body is a text that the catalogue does not analyse: the tables that it reads are not
    /// known.
    Function(String),
    /// A view, whose definition the user may not read (MariaDB): the tables that it reads are not known.
    View(String),
    /// A function of the server whose result changes without a commit, in a view, function or row policy.
    Clock(String),
}

impl Schema {
    /// Creates the schema of `objects`. `dependents` has the contracts that depend on each object; one that is
    /// missing there concerns every contract.
    #[must_use]
    pub fn new(
        objects: ObjectDigests,
        dependents: BTreeMap<String, BTreeSet<String>>,
        unfollowed: BTreeSet<UnfollowedRead>,
    ) -> Self {
        Self { digest: total_digest(&objects), objects, dependents, unfollowed }
    }

    /// Adds an object for the set of objects that each contract reads: one that was replaced by another of the
    /// same name has another number, and so another name here. A contract with another value is another object.
    #[must_use]
    pub(crate) fn with_reads(mut self, contracts: &[ScopedContract]) -> Self {
        for contract in contracts {
            let reads = self.dependents.iter().filter(|(_, names)| names.contains(&contract.name));
            let reads = reads.flat_map(|(object, _)| object.bytes().chain([0]));
            let digest = contract::fnv1a(reads);
            let object = format!("reads {:x}", contract.definition());
            self.dependents.entry(object.clone()).or_default().insert(contract.name.clone());
            self.objects.insert(object, digest);
        }
        self
    }

    /// Returns the digests of the objects.
    #[must_use]
    pub fn objects(&self) -> &ObjectDigests {
        &self.objects
    }

    /// Returns the digest of the whole, as the database computes it.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Returns the contracts that depend on one of `objects`; `None` if one of them concerns every contract.
    #[must_use]
    pub fn dependents<'a>(
        &self,
        objects: impl IntoIterator<Item = &'a str>,
    ) -> Option<BTreeSet<&str>> {
        let mut contracts = BTreeSet::new();
        for object in objects {
            contracts.extend(self.dependents.get(object)?.iter().map(String::as_str));
        }
        Some(contracts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_of_all_contracts_has_no_list() {
        let digests = ["publication", "table 1"].map(|name| (name.to_owned(), 1));
        let price = BTreeSet::from(["price".to_owned()]);
        let dependents = BTreeMap::from([("table 1".to_owned(), price)]);
        let schema = Schema::new(digests.into(), dependents, BTreeSet::new());
        assert_eq!(schema.digest(), 2);
        assert_eq!(schema.dependents(["table 1"]), Some(BTreeSet::from(["price"])));
        assert_eq!(schema.dependents([]), Some(BTreeSet::new()));
        assert_eq!(schema.dependents(["table 1", "publication"]), None);
    }

    #[test]
    fn replaced_object_is_noticed_without_its_name() {
        let schema = |object: &str| {
            let price = BTreeSet::from(["price".to_owned()]);
            let dependents = BTreeMap::from([(object.to_owned(), price)]);
            let objects = BTreeMap::from([(object.to_owned(), 5)]);
            let contract = ScopedContract {
                name: "price".into(),
                tables: vec![ScopedTable {
                    name: TableName::parse("products"),
                    bare_name: None,
                    watched: Vec::new(),
                }],
                raising: Vec::new(),
                value: None,
                changes_by_clock: false,
            };
            Schema::new(objects, dependents, BTreeSet::new()).with_reads(&[contract])
        };
        let (before, after) = (schema("class 1"), schema("class 2"));
        assert_eq!((before.digest(), after.digest()), (5, 5));
        let applied = coherence::AppliedSchema {
            position: coherence::Lsn(1),
            objects: before.objects().clone(),
        };
        assert!(applied.covers(before.objects()) && !applied.covers(after.objects()));
        let changed = applied.changed(after.objects());
        assert_eq!(after.dependents(changed), Some(BTreeSet::from(["price"])));
    }
}
