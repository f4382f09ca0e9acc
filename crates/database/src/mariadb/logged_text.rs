//! Types of columns whose values in the binary log determine the server's own text.

/// The types. `zerofill`, compression and other character sets are exceptions.
pub const LOGGED_TEXT_TYPES: [&str; 16] = [
    "tinyint",
    "smallint",
    "mediumint",
    "int",
    "bigint",
    "decimal",
    "char",
    "varchar",
    "tinytext",
    "text",
    "mediumtext",
    "longtext",
    "enum",
    "set",
    "date",
    "year",
];

/// Character sets that are encoded in UTF-8; empty for a column without one.
const UTF8_CHARSETS: [&str; 5] = ["", "utf8mb4", "utf8mb3", "utf8", "ascii"];

/// A column as the catalogue describes it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ColumnDefinition {
    /// `int`
    pub data_type: String,
    /// `int(10) unsigned zerofill`
    pub full_type: String,
    /// Its character set, if it has one.
    pub charset: String,
    /// `VIRTUAL GENERATED`, `auto_increment` and the like.
    pub extra: String,
}

impl ColumnDefinition {
    /// Whether the log does not contain the column.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        self.extra.to_ascii_uppercase().contains("VIRTUAL")
    }

    /// Whether the log marks neither its type's age nor the text that follows from it.
    #[must_use]
    pub fn is_of_old_format(&self) -> bool {
        self.full_type.contains("mariadb-5.3")
    }

    /// Whether the values of its type determine their text.
    #[must_use]
    pub fn has_text_type(&self) -> bool {
        LOGGED_TEXT_TYPES.contains(&self.data_type.as_str())
            && !self.full_type.contains("zerofill")
            // The server shows two of the four digits.
            && !self.full_type.starts_with("year(2)")
    }

    /// Whether its text is compressed in the log too.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.full_type.contains("COMPRESSED")
    }

    /// Whether its text is UTF-8 in the log.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        UTF8_CHARSETS.contains(&self.charset.as_str())
    }

    /// Whether the log contains the text that the server shows.
    #[must_use]
    pub fn has_logged_text(&self) -> bool {
        self.has_text_type()
            && self.is_utf8()
            && !self.is_virtual()
            && !self.is_of_old_format()
            && !self.is_compressed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_server_changes_not_in_log() {
        let column = |full_type: &str, charset: &str, extra: &str| ColumnDefinition {
            data_type: full_type.split(['(', ' ']).next().unwrap_or_default().to_owned(),
            full_type: full_type.to_owned(),
            charset: charset.to_owned(),
            extra: extra.to_owned(),
        };
        for (full_type, charset, extra, is_logged) in [
            ("decimal(10,2) unsigned", "", "", true),
            ("varchar(20)", "utf8mb4", "INVISIBLE", true),
            ("year(4)", "", "STORED GENERATED", true),
            ("int(10) unsigned zerofill", "", "", false),
            ("year(2)", "", "", false),
            ("varchar(20)", "latin1", "", false),
            ("text /*M!100301 COMPRESSED*/", "utf8mb4", "", false),
            ("datetime /* mariadb-5.3 */", "", "", false),
            ("int(11)", "", "VIRTUAL GENERATED", false),
            ("timestamp(6)", "", "", false),
        ] {
            let found = column(full_type, charset, extra).has_logged_text();
            assert_eq!(found, is_logged, "{full_type} {charset} {extra}");
        }
    }
}
