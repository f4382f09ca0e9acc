//! Parser of the rows that the triggers write.

use contract::{Cell, Row};

/// Parses `'a','it''s',NULL` into the cells of `columns`. Returns `None` if the text is malformed
/// or has another number of values.
pub(super) fn parse(text: &str, columns: &[String]) -> Option<Row> {
    let mut row = Row::new();
    let mut rest = text;
    for (at, column) in columns.iter().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix(',')?;
        }
        let cell;
        (cell, rest) = literal(rest)?;
        row.push(column.clone(), cell);
    }
    rest.is_empty().then_some(row)
}

fn literal(text: &str) -> Option<(Cell, &str)> {
    if let Some(rest) = text.strip_prefix("NULL") {
        return Some((Cell::Null, rest));
    }
    let mut rest = text.strip_prefix('\'')?;
    let mut value = String::new();
    loop {
        let (before, after) = rest.split_once('\'')?;
        value.push_str(before);
        let Some(more) = after.strip_prefix('\'') else {
            return Some((Cell::Text(value), after));
        };
        value.push('\'');
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn columns(count: usize) -> Vec<String> {
        (0..count).map(|at| format!("c{at}")).collect()
    }

    #[test]
    fn literals_parsed() {
        let row = parse("'42','it''s, '''' NULL',NULL,''", &columns(4)).unwrap();
        let cells: Vec<_> = row.iter().map(|(_, cell)| cell.clone()).collect();
        let text = |text: &str| Cell::Text(text.to_owned());
        assert_eq!(cells, [text("42"), text("it's, '' NULL"), Cell::Null, text("")]);
    }

    #[test]
    fn wrong_column_count_rejected() {
        assert_eq!(parse("'1','2'", &columns(1)), None);
        assert_eq!(parse("'1'", &columns(2)), None);
        assert_eq!(parse("'1", &columns(1)), None);
        assert_eq!(parse("", &columns(1)), None);
        assert_eq!(parse("7", &columns(1)), None);
    }

    proptest! {
        #[test]
        fn any_text_never_panics(text in ".*", count in 0_usize..5) {
            let _ = parse(&text, &columns(count));
        }

        #[test]
        fn quoted_text_round_trip(values in proptest::collection::vec(".*", 1..5)) {
            let quoted: Vec<_> =
                values.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect();
            let row = parse(&quoted.join(","), &columns(values.len())).unwrap();
            let back: Vec<_> = row.iter().filter_map(|(_, cell)| cell.text()).collect();
            prop_assert_eq!(back, values);
        }
    }
}
