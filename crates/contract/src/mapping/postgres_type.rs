//! The forms of PostgreSQL's built-in types.

use crate::mapping::row::JsonForm;

impl JsonForm {
    /// Returns how PostgreSQL's `to_json` writes a value of a built-in type (`pg_type.oid`), if it writes its
    /// text, which the type's output function returns under the settings that all sessions have. `None` for all
    /// other types, also for those whose text depends on more than these settings.
    #[must_use]
    pub fn of_postgres_type(type_oid: u32) -> Option<Self> {
        match type_oid {
            // boolean
            16 => Some(Self::Boolean),
            // bigint, smallint, integer, real, double precision, numeric
            20 | 21 | 23 | 700 | 701 | 1700 => Some(Self::Number),
            // character(n)
            1042 => Some(Self::Padded),
            // bytea, text, oid, varchar, uuid
            17 | 25 | 26 | 1043 | 2950 => Some(Self::Text),
            // date, time, interval; not timestamps, which JSON writes in another form
            1082 | 1083 | 1186 => Some(Self::Text),
            // cidr, macaddr8, macaddr, inet, bit, varbit
            650 | 774 | 829 | 869 | 1560 | 1562 => Some(Self::Text),
            // json, jsonb
            114 | 3802 => Some(Self::Json),
            _ => None,
        }
    }
}
