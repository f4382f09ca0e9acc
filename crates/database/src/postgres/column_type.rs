//! Types of columns in the catalogue.

use tokio_postgres::Row;

/// The type of a column.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ColumnType {
    /// The column.
    pub column: String,
    /// The type as in SQL, such as `character(5)`.
    pub name: String,
    /// The type in `pg_type`; for a domain, its base type.
    pub base: u32,
    /// The base type as the target of a cast, without a modifier.
    pub base_name: String,
    /// Whether the base type is an enum.
    pub is_enum: bool,
    /// Whether the type is a domain.
    pub is_domain: bool,
    /// Whether the type has a modifier, such as a length or a scale.
    pub has_modifier: bool,
    /// Whether its collation, or that of one of its parts, takes different texts for equal.
    pub folds_texts: bool,
    /// The types of which the base type consists, at any depth: elements, attributes, bounds of ranges.
    pub parts: Vec<u32>,
    /// The extensions that the base type and its parts belong to.
    pub extensions: Vec<String>,
}

impl ColumnType {
    /// Selects the types of columns: `$1` is the table as an SQL identifier, `$2` the list of columns. Without a
    /// row for a column that does not exist or is not visible.
    pub const QUERY: &str = "\
        with recursive wanted as ( \
          select a.attname, a.atttypid, a.atttypmod, \
            coalesce((select not collisdeterministic from pg_collation c where c.oid = a.attcollation), \
                     false) as folds \
          from pg_attribute a \
          where a.attrelid = to_regclass($1) and a.attname = any($2) and a.attnum > 0 \
            and not a.attisdropped), \
        base(attname, oid, modifier) as ( \
          select attname, atttypid, atttypmod from wanted \
          union all \
          select base.attname, t.typbasetype, greatest(base.modifier, t.typtypmod) \
          from base join pg_type t on t.oid = base.oid where t.typtype = 'd'), \
        part(attname, oid, depth) as ( \
          select base.attname, base.oid, 0 from base join pg_type t on t.oid = base.oid \
          where t.typtype <> 'd' \
          union \
          select part.attname, next.oid, 1 from part join pg_type t on t.oid = part.oid \
            cross join lateral ( \
              select t.typbasetype where t.typtype = 'd' \
              union all select t.typelem where t.typcategory = 'A' and t.typelem <> 0 \
              union all select r.rngsubtype from pg_range r \
                where r.rngtypid = t.oid or r.rngmultitypid = t.oid \
              union all select a.atttypid from pg_attribute a \
                where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 \
                and not a.attisdropped) next(oid)) \
        select w.attname::text, format_type(w.atttypid, w.atttypmod), t.oid, format_type(t.oid, -1), \
          t.typtype = 'e', w.atttypid <> t.oid, base.modifier >= 0, \
          w.folds or exists (select from part join pg_range r on part.oid in (r.rngtypid, r.rngmultitypid) \
              join pg_collation c on c.oid = r.rngcollation \
            where part.attname = w.attname and not c.collisdeterministic) \
          or exists (select from part join pg_class k on k.reltype = part.oid \
              join pg_attribute a on a.attrelid = k.oid and a.attnum > 0 and not a.attisdropped \
              join pg_collation c on c.oid = a.attcollation \
            where part.attname = w.attname and not c.collisdeterministic), \
          array(select part.oid from part where part.attname = w.attname and part.depth > 0), \
          array(select e.extname::text from part join pg_depend d on d.objid = part.oid \
              join pg_extension e on e.oid = d.refobjid \
            where part.attname = w.attname and d.deptype = 'e' \
              and d.classid = 'pg_type'::regclass and d.refclassid = 'pg_extension'::regclass) \
        from wanted w join base on base.attname = w.attname join pg_type t on t.oid = base.oid \
        where t.typtype <> 'd'";

    /// Reads a row of [`QUERY`](Self::QUERY).
    ///
    /// # Errors
    /// The row does not have its columns.
    pub fn from_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            column: row.try_get(0)?,
            name: row.try_get(1)?,
            base: row.try_get(2)?,
            base_name: row.try_get(3)?,
            is_enum: row.try_get(4)?,
            is_domain: row.try_get(5)?,
            has_modifier: row.try_get(6)?,
            folds_texts: row.try_get(7)?,
            parts: row.try_get(8)?,
            extensions: row.try_get(9)?,
        })
    }
}
