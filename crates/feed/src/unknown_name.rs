//! Issues about names in contracts that a database does not have. Most of them are typos.

use contract::config::nearest_name;

use crate::error::{SetupIssue, Subject};

/// The most names that a remedy lists.
const MAX_LISTED: usize = 8;

/// Returns the issue of a table that does not exist. `name` and `known`, the tables that the role sees, are written as
/// in contracts.
pub(crate) fn missing_table(name: &str, known: &[String]) -> SetupIssue {
    let remedy = match nearest_table(name, known) {
        Some(near) => did_you_mean(near),
        None if known.is_empty() => {
            "-- the role sees no table in this database: name another one in `url`, or grant it the rights"
                .to_owned()
        }
        None => other_names("table", known),
    };
    let description = format!("There is no table `{name}`, which contracts refer to.");
    SetupIssue::new(description, [remedy]).about(Subject::Table(name.to_owned()))
}

/// Returns the issue of a column that does not exist. `known`: the columns of the table.
pub(crate) fn missing_column(table: &str, column: &str, known: &[String]) -> SetupIssue {
    let remedy = match nearest_name(column, known.iter().map(String::as_str)) {
        Some(near) => did_you_mean(near),
        None => other_names("column", known),
    };
    let description =
        format!("Table `{table}` has no column `{column}`, which contracts refer to.");
    let subject = Subject::Column { table: table.to_owned(), column: column.to_owned() };
    SetupIssue::new(description, [remedy]).about(subject)
}

/// Returns the table with the same name in another schema, or else the one with the nearest name.
fn nearest_table<'k>(name: &str, known: &'k [String]) -> Option<&'k str> {
    let bare = |name: &str| contract::split_table_name(name).1.into_owned();
    let wanted = bare(name);
    let names = || known.iter().map(String::as_str);
    names().find(|known| bare(known) == wanted).or_else(|| {
        let bare_names: Vec<String> = names().map(bare).collect();
        let near = nearest_name(&wanted, bare_names.iter().map(String::as_str));
        let at = near.and_then(|near| bare_names.iter().position(|name| name == near));
        at.map(|at| known[at].as_str()).or_else(|| nearest_name(name, names()))
    })
}

fn did_you_mean(near: &str) -> String {
    format!("-- did you mean `{near}`? Correct the name in the contract")
}

fn other_names(kind: &str, known: &[String]) -> String {
    if known.len() > MAX_LISTED {
        return format!("-- correct the name in the contract, or create the {kind}");
    }
    format!("-- correct the name in the contract; the {kind}s are: {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn nearest_table_suggested() {
        for (name, known, remedy) in [
            ("prodcts", &["orders", "products"][..], "did you mean `products`?"),
            ("Products", &["products"], "did you mean `products`?"),
            ("products", &["shop.products"], "did you mean `shop.products`?"),
            ("shop.product", &["orders", "shop.products"], "did you mean `shop.products`?"),
            ("zebra", &["orders", "products"], "the tables are: orders, products"),
            ("zebra", &[], "name another one in `url`"),
        ] {
            let issue = missing_table(name, &names(known));
            assert!(issue.remedy[0].contains(remedy), "{name}: {issue:?}");
            assert!(issue.remedy[0].starts_with("-- "), "{issue:?}");
        }
    }

    #[test]
    fn nearest_column_suggested() {
        let known = names(&["id", "price_cents"]);
        let issue = missing_column("products", "price_cent", &known);
        assert!(issue.remedy[0].contains("did you mean `price_cents`?"), "{issue:?}");
        let issue = missing_column("products", "colour", &known);
        assert!(issue.remedy[0].contains("the columns are: id, price_cents"), "{issue:?}");
    }
}
