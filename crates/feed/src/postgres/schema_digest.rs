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
        parts.extend(self.session_parts());
        parts.into_iter()
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
             and (r.setrole = 0 or o.rolname = current_user)";
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
                digest: "hashtextextended(concat_ws(' ', rolsuper, rolbypassrls, \
                         current_setting('search_path')), 0)"
                    .to_owned(),
                from: "from pg_roles where rolname = current_user".to_owned(),
            },
        ]
    }
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
