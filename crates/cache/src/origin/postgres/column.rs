//! The columns that keys and tags are made of: the text of their values, and the types that have no such text.
//!
//! The log has the text of a type's output function. A load makes the same text by `format('%s', …)`, which
//! calls the same function; a cast to `text` differs from it, for a boolean for example. Both are then reduced
//! to one text by [`JsonForm::canonical`].

use contract::{Contract, JsonForm, MatchedColumns, TableColumn};
use database::postgres::{ColumnType, PooledConnection};
use database::quoting::identifier;

use super::pool::{column_error, origin_error, table_identifier};
use crate::origin::error::OriginError;
use crate::origin::sql::{no_such_table, other_type};

const NUMERIC: u32 = 1700;
const BPCHAR: u32 = 1042;
const FLOATS: [u32; 2] = [700, 701];
const TIMESTAMPTZ: u32 = 1184;

/// boolean, bytea, bigint, smallint, integer, text, oid, cidr, macaddr8, macaddr, inet, character, varchar, date,
/// time, timestamp, timestamptz, numeric, uuid.
const KEY_TYPES: [u32; 19] = [
    16,
    17,
    20,
    21,
    23,
    25,
    26,
    650,
    774,
    829,
    869,
    BPCHAR,
    1043,
    1082,
    1083,
    1114,
    TIMESTAMPTZ,
    NUMERIC,
    2950,
];

/// Types whose text depends on names in the catalogue: reg… and aclitem.
const CATALOGUE_TYPES: [u32; 12] =
    [24, 1033, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191];

/// point, lseg, path, box, polygon, line, circle: equal within a tolerance.
const GEOMETRY: [u32; 7] = [600, 601, 602, 603, 604, 628, 718];

const MONEY: u32 = 790;
const INTERVAL: u32 = 1186;
const JSONB: u32 = 3802;

const SEVERAL_TEXTS: &str = "equal values of that type have several texts";
const UNKNOWN_TEXTS: &str = "it is not known that each of its values has one text";
const FOLDING: &str = "its collation takes different texts for equal";

/// The columns that a load reads for the names of its entry, in the order of [`Contract::load_columns`].
pub(super) struct NameColumns {
    /// The first one is the key.
    columns: Vec<ColumnType>,
}

impl NameColumns {
    /// Reads the types from the catalogue. `table`: as an SQL identifier.
    ///
    /// # Errors
    /// The database did not answer, has no such column, or a column's type does not make names.
    pub(super) async fn read(
        client: &PooledConnection,
        contract: &Contract,
        table: &str,
    ) -> Result<Self, OriginError> {
        let wanted = contract.load_columns();
        let own_name = contract.from.as_ref().map(|from| from.table.as_str()).unwrap_or_default();
        let columns = read_types(client, contract, (table, own_name), &wanted).await?;
        let columns = Self { columns };
        columns.check(contract, own_name)?;
        Ok(columns)
    }

    fn check(&self, contract: &Contract, table: &str) -> Result<(), OriginError> {
        let keys = contract.key_columns();
        for column in &self.columns {
            let is_key = keys.contains(&column.column.as_str());
            let problem = if is_key { key_problem(column) } else { tag_problem(column) };
            let Some(problem) = problem else { continue };
            let (consequence, names) = match is_key {
                true => ("one row could be stored under several keys", "key"),
                false => ("a change in the log could miss entries with its tag", "tag"),
            };
            return Err(OriginError::broken(format!(
                "contract {}: {table}.{} is of type {}; {problem}, so {consequence}. Use a {names} column of \
                 another type, such as a number, a text, a date or a uuid",
                contract.name, column.column, column.name,
            )));
        }
        Ok(())
    }

    pub(super) fn key(&self) -> &ColumnType {
        &self.columns[0]
    }

    /// Returns the columns of the item: the key, and those of variants.
    pub(super) fn of_item<'c>(
        &'c self,
        contract: &'c Contract,
    ) -> impl Iterator<Item = &'c ColumnType> {
        let variants = contract.from.iter().flat_map(|from| &from.variants);
        let of_name = |name: &String| self.columns.iter().find(|column| column.column == *name);
        [self.key()].into_iter().chain(variants.filter_map(of_name))
    }

    /// Returns SQL for the list of the columns' texts.
    pub(super) fn texts(&self) -> String {
        let texts: Vec<String> = self
            .columns
            .iter()
            .map(|column| logged_text(&identifier(&column.column), column))
            .collect();
        format!("array[{}]::text[]", texts.join(", "))
    }

    /// Returns the names of the columns with the forms of their texts.
    pub(super) fn forms(&self) -> Vec<(String, Option<JsonForm>)> {
        self.columns.iter().map(|column| (column.column.clone(), form(column))).collect()
    }
}

/// Reads the types of columns from the catalogue. `table`: as an SQL identifier, and as the contract names it.
async fn read_types(
    client: &PooledConnection,
    contract: &Contract,
    (table, name): (&str, &str),
    wanted: &[&str],
) -> Result<Vec<ColumnType>, OriginError> {
    let rows = client.query(ColumnType::QUERY, &[&table, &wanted]).await;
    let rows = rows.map_err(|err| origin_error(&err))?;
    let types = rows.iter().map(ColumnType::from_row).collect::<Result<Vec<_>, _>>();
    let mut types = types.map_err(|err| column_error(&err))?;
    let mut columns = Vec::with_capacity(wanted.len());
    for column in wanted {
        let Some(at) = types.iter().position(|found| found.column == *column) else {
            return Err(no_such_table(&contract.name, name, column));
        };
        columns.push(types.swap_remove(at));
    }
    Ok(columns)
}

/// Checks that the columns by which rows of joined tables name entries have the texts of those that they are matched
/// with.
pub(super) async fn check_joined(
    client: &PooledConnection,
    contract: &Contract,
) -> Result<(), OriginError> {
    for MatchedColumns { own, joined } in contract.matched_columns() {
        let kind = read_type(client, contract, joined).await?;
        if let Some(problem) = key_problem(&kind) {
            return Err(OriginError::broken(format!(
                "contract {}: {}.{} is of type {}; {problem}, so a change in the log could miss its entries. Use a \
                 column of another type, such as a number, a text, a date or a uuid",
                contract.name, joined.table, joined.column, kind.name,
            )));
        }
        let Some(own) = own else { continue };
        if text_kind(&read_type(client, contract, own).await?) != text_kind(&kind) {
            return Err(other_type(contract, own, joined));
        }
    }
    Ok(())
}

async fn read_type(
    client: &PooledConnection,
    contract: &Contract,
    TableColumn { table, column }: TableColumn<'_>,
) -> Result<ColumnType, OriginError> {
    let identifier = table_identifier(table);
    let types = read_types(client, contract, (&identifier, table), &[column]).await?;
    types.into_iter().next().ok_or_else(|| no_such_table(&contract.name, table, column))
}

/// Returns a type that stands for all types with the same texts: one for numbers, one for texts.
fn text_kind(column: &ColumnType) -> u32 {
    const INTEGERS: [u32; 4] = [20, 21, 23, 26];
    const TEXTS: [u32; 3] = [25, BPCHAR, 1043];
    match column.base {
        base if INTEGERS.contains(&base) => NUMERIC,
        base if TEXTS.contains(&base) || column.is_enum => TEXTS[0],
        base => base,
    }
}

/// Returns SQL for a text parameter as a value of the key.
pub(super) fn typed_parameter(key: &ColumnType, number: usize) -> String {
    format!("${number}::{}", key.base_name)
}

/// Returns SQL for the text that the log has of `value`, an expression of the column's type; null for null.
pub(super) fn logged_text(value: &str, column: &ColumnType) -> String {
    let text = match column.base {
        // The log's session has the time zone UTC, this one the role's. `infinity` has no digits.
        TIMESTAMPTZ => format!(
            r"regexp_replace(format('%s', timezone('UTC', {value})), E'^[-0-9 :.]*[0-9]', E'\\&+00')"
        ),
        _ => format!("format('%s', {value})"),
    };
    // `is null` is true of a composite value whose attributes are null.
    format!("case when {value} is distinct from null then {text} end")
}

/// Returns the form of a column's text in the log. The log does not say of which type a domain is.
pub(super) fn form(column: &ColumnType) -> Option<JsonForm> {
    if column.is_domain { None } else { JsonForm::of_postgres_type(column.base) }
}

/// Returns the canonical text of a value, by which entries are named.
pub(super) fn canonical(form: Option<JsonForm>, text: &str) -> &str {
    form.map_or(text, |form| form.canonical(text))
}

/// Returns why a column can't be a key, as a clause.
fn key_problem(column: &ColumnType) -> Option<&'static str> {
    // The modifier of a domain is not part of the cast of an id.
    let in_domain = column.is_domain && matches!(column.base, BPCHAR | NUMERIC);
    let is_known = KEY_TYPES.contains(&column.base) || column.is_enum;
    match tag_problem(column) {
        Some(problem) => Some(problem),
        None if in_domain || FLOATS.contains(&column.base) => Some(SEVERAL_TEXTS),
        None => (!is_known).then_some(UNKNOWN_TEXTS),
    }
}

/// Returns why a column can't be part of a tag, as a clause.
fn tag_problem(column: &ColumnType) -> Option<&'static str> {
    let all = || column.parts.iter().copied().chain([column.base]);
    let any = |types: &[u32]| all().any(|part| types.contains(&part));
    let contains = |types: &[u32]| column.parts.iter().any(|part| types.contains(part));
    if any(&[MONEY]) {
        return Some("its text depends on the setting lc_monetary");
    }
    if any(&CATALOGUE_TYPES) {
        return Some("its text depends on names in the catalogue");
    }
    if contains(&[TIMESTAMPTZ]) {
        return Some("its text depends on the time zone of the session");
    }
    if column.folds_texts {
        return Some(FOLDING);
    }
    // These have a canonical text only where the log says that they are of the type.
    let inside = contains(&[NUMERIC, BPCHAR]) || contains(&FLOATS);
    let in_domain = column.is_domain
        && (FLOATS.contains(&column.base)
            || matches!(column.base, NUMERIC | BPCHAR) && !column.has_modifier);
    let folds = column.extensions.iter().any(|extension| extension == "citext");
    let several = any(&[INTERVAL, JSONB]) || any(&GEOMETRY) || inside || in_domain || folds;
    several.then_some(SEVERAL_TEXTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(base: u32) -> ColumnType {
        ColumnType {
            column: "c".into(),
            name: "t".into(),
            base,
            base_name: "t".into(),
            is_enum: false,
            is_domain: false,
            has_modifier: false,
            folds_texts: false,
            parts: Vec::new(),
            extensions: Vec::new(),
        }
    }

    #[test]
    fn keys_have_one_text_per_value() {
        for base in KEY_TYPES {
            assert_eq!(key_problem(&column(base)), None, "{base}");
        }
        for base in [FLOATS[0], FLOATS[1], MONEY, INTERVAL, JSONB, 114, 142] {
            assert!(key_problem(&column(base)).is_some(), "{base}");
        }
        let label = ColumnType { is_enum: true, ..column(20_000) };
        assert_eq!(key_problem(&label), None);
        let domain = |base| ColumnType { is_domain: true, ..column(base) };
        assert_eq!(key_problem(&domain(25)), None);
        assert!(key_problem(&domain(NUMERIC)).is_some());
        let folding = ColumnType { folds_texts: true, ..column(25) };
        assert!(key_problem(&folding).is_some_and(|problem| problem.contains("collation")));
    }

    #[test]
    fn tags_need_text_known_to_the_log() {
        for base in KEY_TYPES.into_iter().chain(FLOATS).chain([142, 1266, 1560]) {
            assert_eq!(tag_problem(&column(base)), None, "{base}");
        }
        let made_of = |part| ColumnType { parts: vec![part], ..column(1_231) };
        assert_eq!(tag_problem(&made_of(23)), None);
        for part in [NUMERIC, TIMESTAMPTZ, MONEY, 2205, BPCHAR, FLOATS[0], INTERVAL] {
            assert!(tag_problem(&made_of(part)).is_some(), "{part}");
        }
        let scaled = ColumnType { is_domain: true, has_modifier: true, ..column(NUMERIC) };
        assert_eq!(tag_problem(&scaled), None);
        for refused in [
            ColumnType { has_modifier: false, ..scaled },
            ColumnType { extensions: vec!["citext".into()], ..column(20_000) },
            ColumnType { folds_texts: true, ..column(25) },
            column(MONEY),
        ] {
            assert!(tag_problem(&refused).is_some(), "{refused:?}");
        }
    }
}
