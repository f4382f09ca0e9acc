//! The statement that computes the digests of a schema in the server.

use database::quoting;

/// The objects to watch, by catalogue, and the publication.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct WatchedObjects {
    /// Tables, partitions, views: `pg_class`.
    pub(super) classes: Vec<u32>,
    /// `pg_proc`.
    pub(super) functions: Vec<u32>,
    /// `pg_type`.
    pub(super) types: Vec<u32>,
    /// `pg_namespace`.
    pub(super) schemas: Vec<u32>,
    /// The publication's name.
    pub(super) publication: String,
    /// The options in the source's URL. With the role they name the settings that values are loaded with.
    pub(super) session: String,
    /// The version of the server.
    pub(super) version: i32,
}

/// Settings that decide what a session reads, and which values it computes. They may come from the server's
/// configuration, so that no row of the catalogue has them.
const SETTINGS: [&str; 7] = [
    "search_path",
    "TimeZone",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "default_text_search_config",
    "row_security",
];

/// The object for the publication itself.
pub(super) const PUBLICATION: &str = "publication";

impl WatchedObjects {
    /// Returns the statement for the digest of the whole schema.
    pub(super) fn total_sql(&self) -> String {
        let parts = self.parts().map(|part| format!("select {} {}", part.digest, part.from));
        let parts = parts.collect::<Vec<_>>().join(" union all ");
        format!("(select coalesce(sum(digest), 0)::text from ({parts}) as part(digest))")
    }

    /// Returns the statement for the digests of the objects.
    pub(super) fn objects_sql(&self) -> String {
        let parts = self
            .parts()
            .map(|part| format!("select {}, {} {}", part.object, part.digest, part.from));
        let parts = parts.collect::<Vec<_>>().join(" union all ");
        format!(
            "select object, sum(digest)::text from ({parts}) as part(object, digest) group by object"
        )
    }

    /// Returns the parts of the digest: one for each catalogue. `xmin` of a row of the catalogue is the
    /// transaction that wrote it, so that a definition that was altered and altered back differs from the first.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let classes = array(&self.classes);
        // A table that another one hides from the search path is read no longer.
        let class = Part {
            object: "'class ' || c.oid".into(),
            digest: format!(
                "hashint8extended({} * 2 + pg_table_is_visible(c.oid)::int, c.oid::bigint)",
                xmin("c")
            ),
            from: format!("from pg_class c where c.oid = any({classes})"),
        };
        let function = Part {
            object: "'function ' || f.oid".into(),
            digest: format!(
                "hashint8extended({} * 2 + pg_function_is_visible(f.oid)::int, f.oid::bigint)",
                xmin("f")
            ),
            from: format!("from pg_proc f where f.oid = any({})", array(&self.functions)),
        };
        let of_class = |catalogue: &str, class: &str, row: &str, condition: &str| {
            Part::new(
                "class",
                &format!("r.{class}"),
                row,
                format!("from {catalogue} r where r.{class} = any({classes}){condition}"),
            )
        };
        let types = array(&self.types);
        let publication = quoting::literal(&self.publication);
        let published = format!(
            "from pg_publication_rel r join pg_publication p on p.oid = r.prpubid \
             where p.pubname = {publication} and r.prrelid = any({classes})"
        );
        let mut parts = vec![
            class,
            function,
            overloads(&self.functions),
            of_class(
                "pg_attribute",
                "attrelid",
                "r.attrelid::bigint * 4096 + r.attnum",
                " and r.attnum > 0",
            ),
            of_class("pg_attrdef", "adrelid", "r.oid::bigint", ""),
            of_class("pg_inherits", "inhparent", "r.inhrelid::bigint", ""),
            of_class(
                "pg_index",
                "indrelid",
                "r.indexrelid::bigint",
                " and (r.indisunique or r.indisreplident)",
            ),
            of_class("pg_policy", "polrelid", "r.oid::bigint", ""),
            of_class("pg_rewrite", "ev_class", "r.oid::bigint", ""),
            Part::new("class", "r.prrelid", "r.oid::bigint", published),
            Part::new(
                "type",
                "r.oid",
                "r.oid::bigint",
                format!("from pg_type r where r.oid = any({types})"),
            ),
            Part::new(
                "type",
                "r.enumtypid",
                "r.oid::bigint",
                format!("from pg_enum r where r.enumtypid = any({types})"),
            ),
            Part::new(
                "schema",
                "r.oid",
                "r.oid::bigint",
                format!("from pg_namespace r where r.oid = any({})", array(&self.schemas)),
            ),
            Part {
                object: format!("'{PUBLICATION}'"),
                ..Part::new(
                    "",
                    "r.oid",
                    "r.oid::bigint",
                    format!("from pg_publication r where r.pubname = {publication}"),
                )
            },
        ];
        if self.version >= 150_000 {
            parts.push(Part {
                object: format!("'{PUBLICATION}'"),
                ..Part::new("", "r.oid", "r.oid::bigint", format!(
                    "from pg_publication_namespace r join pg_publication p on p.oid = r.pnpubid \
                     where p.pubname = {publication}"
                ))
            });
        }
        parts.extend(self.owner_parts());
        parts.extend(self.session_parts());
        parts.into_iter()
    }

    /// Returns the parts for the rights of owners, with which views and functions read tables that have row policies.
    fn owner_parts(&self) -> impl Iterator<Item = Part> {
        let of = |kind: &str, catalogue: &str, owner: &str, oids: &[u32]| {
            let owned = format!("from {catalogue} c join pg_roles o on o.oid = c.{owner}");
            let oids = array(oids);
            let rights = Part {
                object: format!("'{kind} ' || c.oid"),
                digest: "hashtextextended(concat_ws(' ', c.oid, rolsuper, rolbypassrls), 0)".into(),
                from: format!("{owned} where c.oid = any({oids})"),
            };
            let memberships = Part {
                object: format!("'{kind} ' || c.oid"),
                digest: format!(
                    "hashint8extended({}, c.oid::bigint * 4294967296 + m.roleid::bigint)",
                    xmin("m")
                ),
                from: format!(
                    "{owned} join pg_auth_members m on m.member = o.oid where c.oid = any({oids})"
                ),
            };
            [rights, memberships]
        };
        let classes = of("class", "pg_class", "relowner", &self.classes);
        classes.into_iter().chain(of("function", "pg_proc", "proowner", &self.functions))
    }

    /// Returns the parts for the settings of new sessions of the role, and for the rows that the role may see. Roles and
    /// URLs may differ between nodes.
    fn session_parts(&self) -> [Part; 2] {
        let object = format!(
            "'session ' || current_user || {}",
            quoting::literal(&format!(" {}", self.session))
        );
        let settings = "from pg_db_role_setting r \
             left join pg_database d on d.oid = r.setdatabase left join pg_roles o on o.oid = r.setrole \
             where (r.setdatabase = 0 or d.datname = current_database()) \
             and (r.setrole = 0 or o.rolname in (current_user, session_user))";
        // Row policies may be for roles that the role is a member of. A superuser is one of every role, and has no
        // policies.
        let roles = "from pg_roles r where rolname = current_user or not exists ( \
               select from pg_roles where rolname = current_user and rolsuper) \
             and pg_has_role(current_user, r.oid, 'usage')";
        [
            Part {
                object: object.clone(),
                digest: format!(
                    "hashint8extended({}, r.setdatabase::bigint * 4294967296 + r.setrole::bigint)",
                    xmin("r")
                ),
                from: settings.to_owned(),
            },
            Part {
                object,
                digest: format!(
                    "hashtextextended(concat_ws(' ', r.oid, rolsuper, rolbypassrls, {}), 0)",
                    SETTINGS.map(|name| format!("current_setting('{name}')")).join(", ")
                ),
                from: roles.to_owned(),
            },
        ]
    }
}

/// Returns the part for functions of the same name: a new one whose arguments fit a call better replaces the one that it
/// called before.
fn overloads(functions: &[u32]) -> Part {
    Part::new(
        "function",
        "w.oid",
        "r.oid::bigint",
        format!(
            "from pg_proc w join pg_proc r on r.proname = w.proname and r.oid <> w.oid where w.oid = any({})",
            array(functions)
        ),
    )
}

/// The digests of the rows of one catalogue.
struct Part {
    /// The name of the object that a row belongs to.
    object: String,
    /// The digest of a row.
    digest: String,
    from: String,
}

impl Part {
    /// Creates the part of rows `r`. `seed` is the row's own number.
    fn new(kind: &str, oid: &str, seed: &str, from: String) -> Self {
        Self {
            object: format!("'{kind} ' || {oid}"),
            digest: format!("hashint8extended({}, {seed})", xmin("r")),
            from,
        }
    }
}

fn xmin(row: &str) -> String {
    format!("{row}.xmin::text::bigint")
}

fn array(oids: &[u32]) -> String {
    let oids = oids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    format!("'{{{oids}}}'::oid[]")
}
