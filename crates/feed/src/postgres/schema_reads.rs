//! The objects of the catalogue that contracts read, from the database's own record of dependencies.

use std::collections::{BTreeMap, BTreeSet};

use contract::UnwatchedColumns;
use database::postgres::Connection;
use database::{DatabaseError, Failure, ServerCode};

use super::schema_digest::WatchedObjects;
use crate::error::{FeedError, SetupIssue};
use crate::schema::{ReadObject, ScopedContract, UnfollowedRead};

const OPERATION: &str = "reading the dependencies of contracts";

/// Everything that a set of contracts reads.
#[derive(Default)]
pub(super) struct Reads {
    pub(super) objects: WatchedObjects,
    /// The contracts of each object, by the name that the digests have.
    pub(super) dependents: BTreeMap<String, BTreeSet<String>>,
    pub(super) unfollowed: BTreeSet<UnfollowedRead>,
    /// The contracts whose value the database does not accept.
    pub(super) issues: Vec<SetupIssue>,
}

/// The most contracts of one configuration. The followed table `n` of a contract has the number of the contract plus `n` times
/// this.
const TABLES: i32 = 100_000;

/// Follows the dependencies of the tables and of the views that stand for values: views to their definitions,
/// tables to their partitions and children, row policies and computed columns, and all of them to functions,
/// operators and types. `read_columns` are the columns of followed tables that a view, function or policy reads; the
/// number 0 is the whole row, of which the catalogue has no dependency. A row `clock` is a function of the server whose
/// result changes without a commit; the statement of the value itself is reviewed with its contract.
const READS: &str = "\
    with recursive reads(contract, classid, objid) as ( \
      select contract, 'pg_class'::regclass::oid, oid from unnest($1::int[], $2::oid[]) root(contract, oid) \
    union \
      select r.contract, d.classid, d.objid from reads r cross join lateral ( \
        select refclassid, refobjid, false from pg_depend \
          where classid = r.classid and objid = r.objid and deptype <> 'P' and deptype <> 'S' \
          and (refclassid in ('pg_proc'::regclass, 'pg_type'::regclass, 'pg_operator'::regclass) \
            or refclassid = 'pg_class'::regclass and r.classid <> 'pg_class'::regclass) \
        union all select 'pg_rewrite'::regclass, w.oid, false from pg_rewrite w join pg_class v on v.oid = w.ev_class \
          where r.classid = 'pg_class'::regclass and w.ev_class = r.objid and v.relkind = 'v' \
        union all select 'pg_class'::regclass, inhrelid, true from pg_inherits \
          where r.classid = 'pg_class'::regclass and inhparent = r.objid \
        union all select 'pg_policy'::regclass, oid, false from pg_policy \
          where r.classid = 'pg_class'::regclass and polrelid = r.objid \
        union all select 'pg_attrdef'::regclass, e.oid, false from pg_attrdef e join pg_attribute a \
          on a.attrelid = e.adrelid and a.attnum = e.adnum \
          where r.classid = 'pg_class'::regclass and e.adrelid = r.objid and a.attgenerated <> '' \
        union all select 'pg_proc'::regclass, oprcode::oid, false from pg_operator \
          where r.classid = 'pg_operator'::regclass and oid = r.objid and oprcode::oid >= 16384 \
        union all select 'pg_class'::regclass, typrelid, false from pg_type t join pg_class c on c.oid = t.typrelid \
          where r.classid = 'pg_type'::regclass and t.oid = r.objid and c.relkind = 'c' \
      ) d(classid, objid, is_child) where r.contract > 0 or d.is_child), \
    readers(contract, classid, objid, tree, is_value) as ( \
      select r.contract, r.classid, r.objid, w.ev_action::text, w.ev_class = any($3) \
        from reads r join pg_rewrite w on w.oid = r.objid where r.classid = 'pg_rewrite'::regclass \
      union all select r.contract, r.classid, r.objid, f.prosqlbody::text, false \
        from reads r join pg_proc f on f.oid = r.objid where r.classid = 'pg_proc'::regclass \
      union all select r.contract, r.classid, r.objid, p.polqual::text, false \
        from reads r join pg_policy p on p.oid = r.objid join pg_class c on c.oid = p.polrelid \
        where r.classid = 'pg_policy'::regclass and c.relrowsecurity), \
    read_columns(contract, relation, number, is_value) as ( \
      select r.contract, d.refobjid, d.refobjsubid, r.is_value from readers r \
        join pg_depend d on d.classid = r.classid and d.objid = r.objid \
        where d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 \
      union all select r.contract, c.oid, 0, r.is_value from readers r \
        join reads t on t.contract < 0 and (-t.contract - 1) % 100000 + 1 = r.contract \
        join pg_class c on c.oid = t.objid where t.classid = 'pg_class'::regclass \
          and r.tree like '%:varattno 0 :vartype ' || c.reltype || ' %'), \
    relation_columns(contract, relation, name, is_value) as ( \
      select d.contract, d.relation, a.attname::text, bool_or(d.is_value) from read_columns d \
        join pg_attribute a on a.attrelid = d.relation and (a.attnum = d.number or d.number = 0) \
        where a.attnum > 0 and not a.attisdropped group by 1, 2, 3) \
    select r.contract, r.classid::regclass::text, r.objid, coalesce(c.relkind::text, ''), \
      coalesce(n.nspname || '.' || c.relname, f.oid::regprocedure::text, ''), coalesce(c.relnamespace, 0), \
      coalesce(l.lanname not in ('c', 'internal') and f.prosqlbody is null, false), \
      array(select (-t.contract - 1) / 100000 from reads t where t.classid = r.classid and t.contract < 0 \
        and (-t.contract - 1) % 100000 + 1 = r.contract and t.objid = r.objid), \
      exists (select from reads t where t.classid = r.classid and t.contract = r.contract and t.objid in ( \
        select inhparent from pg_inherits where inhrelid = r.objid)), \
      array(select name from relation_columns d where r.classid = 'pg_class'::regclass \
        and d.contract = r.contract and d.relation = r.objid and d.is_value order by 1), \
      array(select name from relation_columns d where r.classid = 'pg_class'::regclass \
        and d.contract = r.contract and d.relation = r.objid and not d.is_value order by 1) \
    from reads r \
    left join pg_class c on r.classid = 'pg_class'::regclass and c.oid = r.objid \
    left join pg_namespace n on n.oid = c.relnamespace \
    left join pg_proc f on r.classid = 'pg_proc'::regclass and f.oid = r.objid \
    left join pg_language l on l.oid = f.prolang \
    where r.contract > 0 \
      and r.classid in ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass) \
      and r.objid <> all ($3::oid[]) \
    union all select distinct r.contract, 'clock', 0::oid, '', \
      coalesce(f.oid::regprocedure::text, 'current_timestamp'), 0::oid, false, '{}'::int[], false, '{}'::text[], '{}'::text[] \
    from readers r cross join lateral ( \
      select m[1]::oid from regexp_matches(r.tree, ':funcid ([0-9]+)', 'g') m union all select null) called(oid) \
    left join pg_proc f on f.oid = called.oid and f.oid < 16384 and (f.provolatile = 'v' \
      or f.proname in ('now', 'transaction_timestamp', 'statement_timestamp') or f.proname = 'age' and f.pronargs = 1) \
    where r.contract > 0 and not r.is_value and (f.oid is not null \
      or called.oid is null and r.tree ~ 'SQLVALUEFUNCTION :op [0-8] ')";

/// Whether a function of a row `clock` reads the clock; the others, such as `random()`, differ with each call.
fn tells_time(function: &str) -> bool {
    let name = function.split('(').next().unwrap_or_default();
    ["now", "age", "timeofday"].contains(&name) || name.ends_with("_timestamp")
}

/// Reads the dependencies of `contracts`, in the open transaction of `connection`, which has to be rolled back.
pub(super) async fn read(
    connection: &Connection,
    contracts: &[ScopedContract],
) -> Result<Reads, FeedError> {
    let mut reads = Reads::default();
    let (mut owners, mut roots, mut views) = (Vec::new(), Vec::new(), Vec::new());
    for (at, contract) in (1..).zip(contracts) {
        let own = contract.tables.iter().map(|table| &table.name);
        for (table, name) in (0..).zip(own.chain(&contract.raising)) {
            let Some(oid) = relation(connection, &name.quoted()).await? else { continue };
            let is_own = usize::try_from(table).is_ok_and(|table| table < contract.tables.len());
            if is_own {
                owners.push(at);
                roots.push(oid);
            }
            // Below zero: the tables whose rows are followed, by contract and table.
            owners.push(-(at + table * TABLES));
            roots.push(oid);
        }
        let Some(value) = &contract.value else { continue };
        match view_of_value(connection, at, value).await? {
            Ok(view) => {
                owners.push(at);
                roots.push(view);
                views.push(view);
            }
            Err(problem) => reads.issues.push(unreadable(&contract.name, &problem)),
        }
    }
    let rows = connection.rows(OPERATION, READS, &[&owners, &roots, &views]).await?;
    for row in &rows {
        let number: i32 = row.get(0);
        let at = usize::try_from(number - 1).unwrap_or_default();
        let contract = &contracts[at];
        let (catalogue, oid): (&str, u32) = (row.get(1), row.get(2));
        let (kind, name): (&str, &str) = (row.get(3), row.get(4));
        let (schema, is_opaque): (u32, bool) = (row.get(5), row.get(6));
        let mut unfollowed = |read| {
            let contract = contract.name.clone();
            reads.unfollowed.insert(UnfollowedRead { contract, read });
        };
        let (oids, object) = match catalogue {
            // The contract says when its value changes.
            "clock" if contract.changes_by_clock && tells_time(name) => continue,
            "clock" => {
                unfollowed(ReadObject::Clock(name.to_owned()));
                continue;
            }
            "pg_class" => (&mut reads.objects.classes, "class"),
            "pg_proc" => (&mut reads.objects.functions, "function"),
            _ => (&mut reads.objects.types, "type"),
        };
        let mut depends = |object: String| {
            reads.dependents.entry(object).or_default().insert(contract.name.clone());
        };
        oids.push(oid);
        depends(format!("{object} {oid}"));
        if schema != 0 {
            reads.objects.schemas.push(schema);
            depends(format!("schema {schema}"));
        }
        // A partition or child counts as followed with its parent, or is reported with it.
        let (followed, is_part): (Vec<i32>, bool) = (row.get(7), row.get(8));
        match kind {
            "r" | "p" | "m" | "f" if followed.is_empty() && !is_part => {
                unfollowed(ReadObject::Table(name.to_owned()));
            }
            "" if is_opaque => unfollowed(ReadObject::Function(name.to_owned())),
            _ => {}
        }
        let (by_value, by_others): (Vec<String>, Vec<String>) = (row.get(9), row.get(10));
        let table = |at: &i32| contract.tables.get(usize::try_from(*at).ok()?);
        for table in followed.iter().filter_map(table) {
            let unwatched = |read| UnwatchedColumns::find(&contract.name, &table.watched, read);
            reads.issues.extend(unwatched(&by_value).map(|found| SetupIssue::unwatched(&found)));
            let others = unwatched(&by_others).map(|found| found.columns).unwrap_or_default();
            others.into_iter().for_each(|column| unfollowed(ReadObject::Column(column)));
        }
    }
    let WatchedObjects { classes, functions, types, schemas, .. } = &mut reads.objects;
    for oids in [classes, functions, types, schemas] {
        oids.sort_unstable();
        oids.dedup();
    }
    Ok(reads)
}

/// Creates a view of the value for this transaction only, so that the database records the objects that the value reads.
/// Returns the database's refusal if it does not accept the statement.
async fn view_of_value(
    connection: &Connection,
    number: i32,
    value: &str,
) -> Result<Result<u32, String>, FeedError> {
    // A view has no parameters. An untyped null takes its type from the context, as a parameter does.
    let value = value.replace("$1", "(null)");
    // The value's own columns may share a name, which those of a view may not. The line break ends a comment.
    let create = format!(
        "savepoint reads; \
         create temporary view tidegate_reads_{number} as select 1 as one from ({value}\n) as value; \
         release savepoint reads"
    );
    if let Err(err) = connection.run(&create).await {
        let problem = refusal(err)?;
        connection.run("rollback to savepoint reads").await?;
        return Ok(Err(problem));
    }
    let view = relation(connection, &format!("pg_temp.tidegate_reads_{number}")).await?;
    view.map(Ok).ok_or_else(|| FeedError::Malformed("a view that was created is not there".into()))
}

/// Returns the server's text if it refuses the statement itself.
fn refusal(err: DatabaseError) -> Result<String, FeedError> {
    match &err.failure {
        // Data errors, errors of syntax or rights, statements that the server does not support.
        Failure::Rejected { code: ServerCode::SqlState(state), .. }
            if ["22", "42", "0A"].iter().any(|class| state.starts_with(class)) =>
        {
            Ok(err.failure.to_string())
        }
        _ => Err(err.into()),
    }
}

fn unreadable(contract: &str, problem: &str) -> SetupIssue {
    let rights =
        "; or, if the role may not create temporary objects: grant temporary on database … to …";
    SetupIssue::unreadable_value(contract, problem, rights)
}

/// Returns the relation of an SQL name.
pub(super) async fn relation(
    connection: &Connection,
    name: &str,
) -> Result<Option<u32>, FeedError> {
    Ok(connection.row(OPERATION, "select to_regclass($1)::oid", &[&name]).await?.get(0))
}
