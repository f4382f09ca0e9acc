//! A model of values that are made from several tables, small enough to explore every sequence of steps: two products
//! with one price between them, rates of two currencies, a setting, and entries of offers and lists.
//!
//! The mappings are those of the product: [`contract::Contract::affected`] for rows, [`contract::Contract::entry_tags`]
//! for loads.

use std::sync::LazyLock;

use coherence::{Batch, Cause, CoverageDigest, Epoch, Event, Fence, Lsn, Offer, Subject, Verdict};
use contract::{Cell, Contract, JsonForms, Key, Op, Row, RowChange, Tag};
use stateright::{Model, Property};

/// The invariant: the fence's promise, for values of several tables.
pub const NO_STALE_ENTRY: &str = "no entry differs from the rows that the tier has applied";
/// The check that the model is not vacuous.
pub const USEFUL: &str = "a value that was loaded after a commit stands in the tier";

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };

const OFFER: &str = r#"
key = "v1:catalog:offer:{id}"
from = [
  { source = "shop", table = "goods" },
  { table = "prices", key = "good_id" },
  { table = "rates", tags = ["rate-{code}"] },
  { table = "settings", entries = "all" },
]
tags = ["rate-{currency}"]
staleness = "5min"
"#;

const LIST: &str = r#"
key = "v1:catalog:category:{id}"
from = [
  { source = "shop", table = "goods", key = "category_id" },
  { table = "prices", tags = ["good-{good_id}"] },
]
tags = ["good-{row.id}"]
staleness = "5min"
"#;

/// A part of the mapping that a scene leaves out.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Omitted {
    /// The table, which is not listed.
    Table(&'static str),
    /// The tags of all rows of a list but the first one.
    TagsOfEachRow,
    /// The old row of an update.
    OldRow,
}

/// A scene: the limits of a run.
#[derive(Clone, Debug)]
pub struct JoinedScene {
    /// The number of commits.
    pub commits: usize,
    /// The number of loads.
    pub loads: u8,
    /// The omitted part.
    pub omitted: Option<Omitted>,
}

/// The rows of the database.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Rows {
    /// The currency and the category of the first product; those of the second are `GBP` and 7.
    currency: &'static str,
    category: &'static str,
    /// The product that has the price.
    priced: &'static str,
    cents: u8,
    /// The rate of `EUR`, and of `GBP`.
    rates: [u8; 2],
    vat: u8,
}

/// A change of one row.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Change {
    /// The price has another amount.
    Price,
    /// The price moves to the other product.
    MovePrice,
    /// The rate of `EUR` changes.
    Rate,
    /// The first product gets the other currency.
    Currency,
    /// The first product moves to the other category.
    Category,
    /// The setting changes.
    Setting,
}

const CHANGES: [Change; 6] = [
    Change::Price,
    Change::MovePrice,
    Change::Rate,
    Change::Currency,
    Change::Category,
    Change::Setting,
];

/// The entries: a contract and an id.
const ITEMS: [(Kind, &str); 4] =
    [(Kind::Offer, "1"), (Kind::Offer, "2"), (Kind::List, "7"), (Kind::List, "8")];

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Kind {
    Offer,
    List,
}

/// The entry of an item: the number of commits in it, its tags and its token.
type Entry = (usize, Vec<Tag>, Lsn);

/// The state of the model.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    /// The rows after each commit, and before the first one.
    history: Vec<Rows>,
    log: Vec<Change>,
    loads: u8,
    /// The item in flight, the token that its load took, and the number of commits that it has read.
    load: Option<(usize, Lsn, Option<usize>)>,
    fence: Fence,
    entries: [Option<Entry>; 4],
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A commit is written, and is visible.
    Commit(Change),
    /// The next event reaches the tier.
    Receive,
    /// A load of this item begins.
    Begin(usize),
    /// It reads the rows.
    Read,
    /// Its value is offered to the tier.
    Fill,
}

fn parse(text: &str) -> Contract {
    let table = text.parse().expect("well-formed");
    Contract::from_toml("value", &table).expect("a contract")
}

impl JoinedScene {
    /// Returns the contract of an item as the product reads it.
    fn contract(&self, kind: Kind) -> Contract {
        static OFFERS: LazyLock<Contract> = LazyLock::new(|| parse(OFFER));
        static LISTS: LazyLock<Contract> = LazyLock::new(|| parse(LIST));
        let mut contract = match kind {
            Kind::Offer => OFFERS.clone(),
            Kind::List => LISTS.clone(),
        };
        if let Some(Omitted::Table(table)) = self.omitted {
            contract.joins.retain(|joined| joined.origin.table != table);
        }
        contract
    }

    fn key(&self, item: usize) -> Key {
        let (kind, id) = ITEMS[item];
        self.contract(kind).key(id).expect("a key")
    }

    /// Returns the tags of an entry that is loaded from these rows.
    fn tags(&self, item: usize, rows: &Rows) -> Vec<Tag> {
        let (kind, id) = ITEMS[item];
        let contract = self.contract(kind);
        let mut own: Vec<Row> = rows.goods().into_iter().filter(|row| kind.has(id, row)).collect();
        if self.omitted == Some(Omitted::TagsOfEachRow) {
            own.truncate(1);
        }
        contract.entry_tags(&contract.item(id).expect("an id"), &own)
    }

    /// Returns the subjects of a change, as the leader maps it.
    fn subjects(&self, change: &RowChange) -> Vec<Subject> {
        let mut subjects = Vec::new();
        for kind in [Kind::Offer, Kind::List] {
            let affected = self.contract(kind).affected(change);
            subjects.extend(affected.keys.into_iter().map(Subject::Key));
            subjects.extend(affected.tags.into_iter().map(Subject::Tag));
            subjects.extend(affected.key_patterns.into_iter().map(Subject::KeysLike));
            subjects.extend(affected.tag_patterns.into_iter().map(Subject::TagsLike));
            subjects.extend(affected.everything.then_some(Subject::Everything));
        }
        subjects
    }
}

fn row(cells: &[(&'static str, String)]) -> Row {
    cells.iter().map(|(name, text)| (*name, Cell::Text(text.clone()))).collect()
}

impl Kind {
    /// Whether a product is a row of the entry of `id`.
    fn has(self, id: &str, product: &Row) -> bool {
        let column = if self == Self::Offer { "id" } else { "category_id" };
        product.get(column).and_then(Cell::text) == Some(id)
    }
}

impl Rows {
    const FIRST: Self =
        Self { currency: "EUR", category: "7", priced: "1", cents: 0, rates: [0, 0], vat: 0 };

    fn goods(&self) -> [Row; 2] {
        [("2", "GBP", "7"), ("1", self.currency, self.category)].map(|(id, currency, category)| {
            row(&[
                ("id", id.to_owned()),
                ("currency", currency.to_owned()),
                ("category_id", category.to_owned()),
            ])
        })
    }

    fn after(mut self, change: Change) -> Self {
        let other = |one: &'static str, [first, second]: [&'static str; 2]| {
            if one == first { second } else { first }
        };
        match change {
            Change::Price => self.cents += 1,
            Change::MovePrice => self.priced = other(self.priced, ["1", "2"]),
            Change::Rate => self.rates[0] += 1,
            Change::Currency => self.currency = other(self.currency, ["EUR", "GBP"]),
            Change::Category => self.category = other(self.category, ["7", "8"]),
            Change::Setting => self.vat += 1,
        }
        self
    }

    /// Returns the row that a change is about, as it is in these rows.
    fn row_of(&self, change: Change) -> (&'static str, Row) {
        match change {
            Change::Price | Change::MovePrice => {
                let cents = self.cents.to_string();
                ("prices", row(&[("good_id", self.priced.to_owned()), ("cents", cents)]))
            }
            Change::Rate => {
                let factor = self.rates[0].to_string();
                ("rates", row(&[("code", "EUR".to_owned()), ("factor", factor)]))
            }
            Change::Currency | Change::Category => {
                let [_, first] = self.goods();
                ("goods", first)
            }
            Change::Setting => ("settings", row(&[("vat", self.vat.to_string())])),
        }
    }

    /// Returns the value of an item.
    fn value(&self, item: usize) -> String {
        let (kind, id) = ITEMS[item];
        let currency = if id == "1" { self.currency } else { "GBP" };
        let rate = self.rates[usize::from(currency == "GBP")];
        let price = |product: &str| (self.priced == product).then_some(self.cents);
        match kind {
            Kind::Offer => format!("{:?} {rate} {}", price(id), self.vat),
            Kind::List => {
                let first = (self.category == id).then(|| price("1"));
                let second = (id == "7").then(|| price("2"));
                format!("{first:?} {second:?}")
            }
        }
    }
}

impl World {
    fn receive(&mut self, scene: &JoinedScene) {
        let prev = self.fence.applied();
        let at = usize::try_from(prev.0).expect("a few commits");
        let (table, new) = self.history[at + 1].row_of(self.log[at]);
        let (_, old) = self.history[at].row_of(self.log[at]);
        let old = if scene.omitted == Some(Omitted::OldRow) { new.clone() } else { old };
        let change = RowChange {
            source: "shop".into(),
            table: table.into(),
            op: Op::Update,
            old: Some(old),
            new: Some(new),
            forms: JsonForms::default(),
        };
        let upto = Lsn(prev.0 + 1);
        let event = Event {
            lsn: upto,
            cause: Cause::Commit,
            committed_us: 0,
            subjects: scene.subjects(&change),
            renewals: Vec::new(),
        };
        let (watermark, coverage) = (upto, CoverageDigest::NONE);
        let events = vec![event];
        let batch = Batch { epoch: EPOCH, prev, upto, watermark, coverage, events };
        self.fence.apply(&batch).expect("no batch is lost in this model");
        for (item, entry) in self.entries.iter_mut().enumerate() {
            let stands = |(_, tags, tau): &(usize, Vec<Tag>, Lsn)| {
                self.fence.stands(&scene.key(item), tags, *tau)
            };
            if !entry.as_ref().is_some_and(stands) {
                *entry = None;
            }
        }
    }

    fn fill(&mut self, scene: &JoinedScene) {
        let Some((item, tau, Some(read))) = self.load.take() else { return };
        let tags = scene.tags(item, &self.history[read]);
        let key = scene.key(item);
        let stored = self.entries[item].as_ref().map(|(_, _, tau)| *tau);
        let offer = Offer { key: &key, tags: &tags, tau, epoch: EPOCH, stored };
        if self.fence.admit(offer) == Verdict::Accept {
            self.entries[item] = Some((read, tags, tau));
        }
    }

    /// Whether an entry lacks a change that the tier has applied.
    fn is_stale(&self) -> bool {
        let applied = usize::try_from(self.fence.applied().0).expect("a few commits");
        let differs = |(item, entry): (usize, &Option<Entry>)| {
            entry.as_ref().is_some_and(|(read, ..)| {
                *read < applied
                    && self.history[*read].value(item) != self.history[applied].value(item)
            })
        };
        self.entries.iter().enumerate().any(differs)
    }
}

impl Model for JoinedScene {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let mut world = World {
            history: vec![Rows::FIRST],
            log: Vec::new(),
            loads: self.loads,
            load: None,
            fence: Fence::default(),
            entries: [const { None }; 4],
        };
        world.fence.reset_epoch(EPOCH, Lsn::ZERO, Lsn::ZERO);
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.log.len() < self.commits {
            steps.extend(CHANGES.map(Step::Commit));
        }
        if world.fence.applied().0 < world.log.len() as u64 {
            steps.push(Step::Receive);
        }
        match world.load {
            None if world.loads > 0 => steps.extend((0..ITEMS.len()).map(Step::Begin)),
            None => {}
            Some((_, _, None)) => steps.push(Step::Read),
            Some((_, _, Some(_))) => steps.push(Step::Fill),
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        match step {
            Step::Commit(change) => {
                let rows = next.history.last()?.after(change);
                next.history.push(rows);
                next.log.push(change);
            }
            Step::Receive => next.receive(self),
            Step::Begin(item) => {
                next.loads -= 1;
                next.load = Some((item, next.fence.watermark(), None));
            }
            Step::Read => {
                let (_, _, read) = next.load.as_mut()?;
                *read = Some(next.log.len());
            }
            Step::Fill => next.fill(self),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_STALE_ENTRY, |_: &Self, world: &World| !world.is_stale()),
            Property::sometimes(USEFUL, |_: &Self, world: &World| {
                world.entries.iter().flatten().any(|(read, ..)| *read > 0)
            }),
        ]
    }
}
