//! Names of relations and functions in a statement, for databases that do not list the dependencies of one.

use super::sql::SqlDialect;
use super::unwatched::{Word, words};

/// The names of a statement. Each is a list of its parts, such as `shop` and `prices`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StatementNames {
    /// The names in the places of tables: tables, views, common table expressions.
    pub relations: Vec<Vec<String>>,
    /// The names before a parenthesis: functions, and some keywords.
    pub called: Vec<Vec<String>>,
    /// Those of them whose last part is quoted. In a view's definition MariaDB quotes the names of stored functions only.
    pub quoted_calls: Vec<Vec<String>>,
    /// The last parts of names with several parts, which columns are among.
    pub last_parts: Vec<String>,
}

impl StatementNames {
    /// Reads the names of `sql`. A place that may be a table's counts as one, as in `extract(year from day)`: look the
    /// names up in the catalogue.
    #[must_use]
    pub fn of(sql: &str, dialect: SqlDialect) -> Self {
        let words = words(sql, dialect);
        let mut names = Self::default();
        // Whether a list of tables is open, for each level of parentheses.
        let mut lists = vec![false];
        let mut expects_table = false;
        let mut at = 0;
        while let Some(word) = words.get(at) {
            let is_in_list = lists.last().copied().unwrap_or_default();
            at += 1;
            match word {
                Word::Sign('(') => lists.push(expects_table),
                Word::Sign(')') => {
                    lists.pop();
                    expects_table = false;
                }
                Word::Sign(',') => expects_table = is_in_list,
                Word::Sign(_) => {}
                Word::Plain(text) if opens_list(text) || closes_list(text) => {
                    expects_table = opens_list(text);
                    lists.pop();
                    lists.push(expects_table);
                }
                Word::Plain(text) if text.eq_ignore_ascii_case("lateral") => {}
                Word::Plain(text) | Word::Quoted(text) => {
                    let mut is_quoted = matches!(word, Word::Quoted(_));
                    let mut parts = vec![text.clone()];
                    while let [
                        Word::Sign('.'),
                        part @ (Word::Plain(text) | Word::Quoted(text)),
                        ..,
                    ] = &words[at..]
                    {
                        is_quoted = matches!(part, Word::Quoted(_));
                        parts.push(text.clone());
                        at += 2;
                    }
                    let is_called = words.get(at) == Some(&Word::Sign('('));
                    if is_called && is_quoted {
                        names.quoted_calls.push(parts.clone());
                    }
                    names.add(parts, expects_table, is_called);
                    expects_table = false;
                }
            }
        }
        names
    }

    fn add(&mut self, parts: Vec<String>, is_relation: bool, is_called: bool) {
        match &*parts {
            _ if is_called => self.called.push(parts),
            _ if is_relation => self.relations.push(parts),
            [_, .., last] => self.last_parts.push(last.clone()),
            _ => {}
        }
    }
}

fn opens_list(word: &str) -> bool {
    ["from", "join", "straight_join"].iter().any(|other| word.eq_ignore_ascii_case(other))
}

fn closes_list(word: &str) -> bool {
    let closing = [
        "select",
        "where",
        "group",
        "having",
        "order",
        "limit",
        "union",
        "except",
        "intersect",
        "window",
    ];
    closing.iter().any(|other| word.eq_ignore_ascii_case(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_places_of_tables_are_relations() {
        for (sql, relations) in [
            (
                "select a.x, b from shop.a, `b c` as c where c.x in (select y from d)",
                "shop.a b c d",
            ),
            (
                "select 1 from ((a join b on a.x = b.x) left join (c join d) on (true)), e",
                "a b c d e",
            ),
            (
                "with c as (select x from a) select x, y from c straight_join f(1) order by x, z",
                "a c",
            ),
            (
                "select x from a use index (i, j) where x > 'from b' -- from d\n union select y from lateral (select 1 from e) g",
                "a e",
            ),
            ("select count(*), max(x), (select y from b limit 1) z, w from a", "b a"),
        ] {
            let names = StatementNames::of(sql, SqlDialect::mariadb(""));
            let found: Vec<String> = names.relations.iter().map(|parts| parts.join(".")).collect();
            assert_eq!(found.join(" "), relations, "{sql}");
        }
        let names = StatementNames::of(
            "select `a`.`x` AS `y`, `s`.`f`(`s`.`a`.`z`) from `s`.`a`",
            SqlDialect::mariadb(""),
        );
        assert_eq!(names.called, [["s", "f"]]);
        assert_eq!(names.quoted_calls, [["s", "f"]]);
        assert_eq!(names.last_parts, ["x", "z"]);
    }
}
