//! The text of a first configuration.

use database::DatabaseUrl;
use toml::Value;

use super::propose::{Proposal, ProposedContract, slug};

/// The budget of each proposed contract.
pub(crate) const STALENESS: &str = "30s";

/// The settings that the tables do not decide.
pub(crate) struct Answers<'a> {
    /// The address of the database, as in the file.
    pub(crate) database: &'a str,
    /// The address of Redis, as in the file; `None`: one process.
    pub(crate) shared: Option<&'a str>,
    /// The address of the application; `None`: no gateway.
    pub(crate) upstream: Option<&'a str>,
    /// The owner of the contracts, who accepts their budget.
    pub(crate) owner: &'a str,
    /// The day, `2026-11-30`.
    pub(crate) day: &'a str,
}

/// Writes the configuration. `url`: the database, for the names of the source and of the keys.
pub(crate) fn render(proposal: &Proposal, url: &DatabaseUrl, answers: &Answers<'_>) -> String {
    let source = source_name(url);
    let mut text = format!(
        "# Written by `tidegate init` on {}. Keys: docs/configuration.md; of contracts: docs/contracts.md.\n\n\
         [source.{source}]\nurl = {}\n",
        answers.day,
        quoted(answers.database)
    );
    text.push_str(&section(
        "shared",
        answers.shared,
        "redis://127.0.0.1:6379",
        "several processes",
    ));
    text.push_str(&section(
        "upstream",
        answers.upstream,
        "http://127.0.0.1:3000",
        "a gateway in front of the application",
    ));
    text.push_str(&format!(
        "\n# Each contract: how stale its answers may be. {} was proposed; the people responsible for the data\n\
         # decide, and are named in `approved`.\n",
        STALENESS
    ));
    for contract in &proposal.contracts {
        text.push_str(&table(contract, &source, answers));
    }
    text
}

/// Writes a section with one address, or as a comment.
fn section(name: &str, url: Option<&str>, example: &str, purpose: &str) -> String {
    match url {
        Some(url) => format!("\n[{name}]\nurl = {}\n", quoted(url)),
        None => format!("\n# For {purpose}:\n# [{name}]\n# url = {}\n", quoted(example)),
    }
}

fn table(contract: &ProposedContract, source: &str, answers: &Answers<'_>) -> String {
    let ProposedContract { name, table, key, value, hidden } = contract;
    let hidden = match hidden.is_empty() {
        true => String::new(),
        false => format!("# Not in the value: {}.\n", hidden.join(", ")),
    };
    let owner = quoted(answers.owner);
    format!(
        "\n{hidden}[data.{name}]\nkey       = {}\nvalue     = {}\nfrom      = {{ source = {}, table = {}, \
         key = {} }}\ntags      = {}\nstaleness = \"{STALENESS}\"\nowner     = {owner}\napproved  = {{ by = \
         [{owner}], on = {} }}\n",
        quoted(&format!("v1:{source}:{name}:{{id}}")),
        quoted(value),
        quoted(source),
        quoted(table),
        quoted(key),
        quoted_list(&format!("{name}-{{id}}")),
        answers.day,
    )
}

fn source_name(url: &DatabaseUrl) -> String {
    let name = match url {
        DatabaseUrl::Postgres(url) => url.database().to_owned(),
        DatabaseUrl::MariaDb(url) => url.database().to_owned(),
        DatabaseUrl::Sqlite(path) => {
            path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
        }
    };
    slug(&name, '-', "database")
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn quoted_list(text: &str) -> String {
    format!("[{}]", quoted(text))
}
