//! The examples of the documents: configurations pass `tidegate check`, and marked commands run.

use std::fs::{Permissions, create_dir_all, read_dir, set_permissions, write};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use harness::Port;
use toml::{Table, Value};

use super::{read, repository};
use crate::first_hour::Desk;
use crate::stack::{Node, Stack, start};

/// The line before a block of commands that the test runs.
const RUN: &str = "<!-- run -->";

/// A fenced block of a page.
struct Block {
    page: String,
    /// Its place, for the message of a failure.
    at: String,
    language: String,
    text: String,
    is_run: bool,
}

/// Returns the blocks of all documents for users.
fn blocks() -> Vec<Block> {
    let pages = ["docs", "docs/runbooks"].into_iter().flat_map(|folder| {
        let files = read_dir(repository(folder)).expect("a folder").flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".md")).map(move |name| format!("{folder}/{name}"))
    });
    let mut pages: Vec<String> = pages.chain(["README.md".into(), "SECURITY.md".into()]).collect();
    pages.sort_unstable();
    pages.iter().flat_map(|page| blocks_of(page)).collect()
}

fn blocks_of(page: &str) -> Vec<Block> {
    let (mut blocks, mut open, mut before) = (Vec::new(), None::<Block>, String::new());
    for (number, line) in (1..).zip(read(page).lines()) {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.extend([line, "\n"]),
            (None, Some(language)) => {
                let (at, language) = (format!("{page}:{number}"), language.to_owned());
                let (page, is_run) = (page.to_owned(), before == RUN);
                open = Some(Block { page, at, language, text: String::new(), is_run });
            }
            (None, None) => line.clone_into(&mut before),
        }
    }
    blocks
}

fn table<'a>(parent: &'a mut Table, name: &str) -> &'a mut Table {
    let entry = parent.entry(name).or_insert_with(|| Value::Table(Table::new()));
    entry.as_table_mut().unwrap_or_else(|| panic!("{name} is no table"))
}

fn default(table: &mut Table, key: &str, value: impl Into<Value>) {
    table.entry(key).or_insert_with(|| value.into());
}

/// Completes an example by the parts that it leaves out, in the way that its page describes them.
fn completed(text: &str) -> Table {
    let text =
        text.replace(":…@", ":secret@").replace("whsec_…", &format!("whsec_{}", "QUJD".repeat(11)));
    let mut root: Table = text.parse().expect("TOML");
    if root.get("key").is_some_and(Value::is_str) {
        root = Table::from_iter([(
            "data".to_owned(),
            Value::Table(Table::from_iter([("example".to_owned(), Value::Table(root))])),
        )]);
    }
    let shown: Vec<String> = root.get("edge").map(shown_contracts).unwrap_or_default();
    complete_access(&mut root);
    let data = table(&mut root, "data");
    for name in shown {
        let tags = vec![Value::from(format!("{name}-{{id}}"))];
        default(table(data, &name), "page_tags", tags);
    }
    let mut sources: Vec<String> = vec!["shop".to_owned()];
    for (name, contract) in data.iter_mut() {
        let contract = contract.as_table_mut().expect("a contract");
        sources.extend(complete_contract(name, contract));
    }
    let given = table(&mut root, "source");
    if given.is_empty() || sources.len() > 1 {
        for name in sources {
            let source = table(given, &name);
            default(source, "url", format!("postgres://tidegate@127.0.0.1/{name}"));
        }
    }
    if root.contains_key("edge") {
        default(table(&mut root, "upstream"), "url", "http://127.0.0.1:3000");
    }
    if root.get("sale").is_some_and(|sale| sale.get("payment").is_some()) {
        default(table(&mut root, "sale"), "url", "sqlite:sale.db");
    }
    if root.get("listen").is_some_and(|listen| listen.get("admin").is_some()) {
        default(table(&mut root, "access"), "tokens", "tokens.toml");
    }
    root
}

/// Completes rights by the contracts that they name, and client certificates by listeners with TLS.
fn complete_access(root: &mut Table) {
    let Some(access) = root.get_mut("access").and_then(Value::as_table_mut) else { return };
    let has_clients = access.contains_key("client_ca");
    if has_clients {
        let client: Table =
            "name = \"web\"\ncertificate = \"dns:web\"\nrole = \"viewer\"".parse().expect("TOML");
        default(access, "client", vec![Value::Table(client)]);
        let tls = table(table(root, "listen"), "tls");
        default(tls, "cert", "node.pem");
        default(tls, "key", "node.key");
    }
    for name in ["product_price", "product_stock"] {
        table(table(root, "data"), name);
    }
}

/// Returns the contracts that routes show.
fn shown_contracts(edge: &Value) -> Vec<String> {
    let routes = edge.get("route").and_then(Value::as_array).into_iter().flatten();
    let shown = routes.filter_map(|route| route.get("shows")?.as_array()).flatten();
    shown.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Completes a contract, and returns its sources.
fn complete_contract(name: &str, contract: &mut Table) -> Vec<String> {
    default(contract, "key", format!("v1:shop:{name}:{{id}}"));
    default(contract, "staleness", "30s");
    default(contract, "owner", "shop");
    let approved: Table = "by = [\"product\"]\non = 2026-11-02".parse().expect("TOML");
    default(contract, "approved", approved);
    let from: Table = "source = \"shop\"\ntable = \"products\"".parse().expect("TOML");
    default(contract, "from", from);
    let tables: Vec<&Table> = match &contract["from"] {
        Value::Array(tables) => tables.iter().filter_map(Value::as_table).collect(),
        from => from.as_table().into_iter().collect(),
    };
    let sources = tables.iter().filter_map(|from| from.get("source")?.as_str());
    let sources = sources.map(str::to_owned).collect();
    let columns = tables.first().and_then(|from| from.get("columns")?.as_array().cloned());
    let columns: Vec<&str> = columns.iter().flatten().filter_map(Value::as_str).collect();
    let columns = if columns.is_empty() { "id".to_owned() } else { columns.join(", ") };
    let from = tables.first().and_then(|from| from.get("table")?.as_str()).unwrap_or("products");
    let value = format!("select {columns} from {from} where id = $id");
    default(contract, "value", value);
    sources
}

#[test]
fn configurations_of_documents_pass_check() {
    let desk = Desk::new()
        .env("SHOP_URL", "postgres://shop@127.0.0.1/shop")
        .env("REDIS_PASSWORD", "hunter2")
        .env("PRICING_TOKEN", "t");
    let access = "[source.shop]\nurl = \"sqlite:shop.db\"\n[access]\ntokens = \"tokens.toml\"\n";
    desk.write("tidegate.toml", access);
    let token = desk.run(&["token", "create", "ci", "--role", "viewer"]);
    assert_eq!(token.code, Some(0), "{token:?}");
    for name in ["signing.keys", "jobs.secret", "stripe.key", "stripe.webhook"] {
        desk.write(name, &"k".repeat(40));
    }
    let (mut checked, mut refused) = (0, Vec::new());
    for block in blocks().iter().filter(|block| block.language.starts_with("toml")) {
        let text = toml::to_string(&completed(&block.text)).expect("TOML");
        desk.write("tidegate.toml", &text);
        let check = desk.run(&["check"]);
        checked += 1;
        if check.code != Some(0) {
            refused.push(format!("{}:\n{text}\n{}", block.at, check.text()));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n\n"));
    assert!(checked > 20, "{checked} examples");
}

/// A shop as in the documents: a database, and a node with the example's contracts.
struct Shop {
    stack: Stack,
    node: Node,
    _folder: tempfile::TempDir,
}

impl Shop {
    fn start() -> Self {
        let stack = Stack::start();
        let ports = [(); 3].map(|()| Port::reserve().expect("a free port"));
        let stock = "\n[data.product_stock]\nkey = \"v1:catalog:stock:{id}\"\n\
                     value = \"select category_id as level from products where id = $id\"\n\
                     from = { source = \"shop\", table = \"products\", columns = [\"category_id\"] }\n\
                     staleness = \"2s\"\nowner = \"warehouse\"\napproved = { by = [\"product\"], on = 2026-11-02 }\n";
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("tidegate.toml");
        write(&config, stack.config(ports.each_ref()) + stock).expect("written");
        let [gateway, data, admin] = ports.each_ref().map(Port::addr);
        let process = start(&config, &[]);
        let node = Node { process, gateway, data, admin, _ports: ports.into() }.ready();
        Self { stack, node, _folder: folder }
    }

    /// Runs the marked blocks of a page in one folder, as they stand, with this shop's addresses, and with paths of the
    /// system below the folder. A page that has a configuration before has it there.
    fn run(&self, page: &[&Block]) -> Desk {
        let desk = Desk::new();
        for folder in ["bin", "etc/bash_completion.d", "usr/local/share/man/man1"] {
            create_dir_all(desk.path(folder)).expect("a folder");
        }
        desk.write(
            "bin/tidegate",
            &format!("#!/bin/sh\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_tidegate")),
        );
        set_permissions(desk.path("bin/tidegate"), Permissions::from_mode(0o755)).expect("changed");
        let folder = desk.path("").display().to_string();
        let folder = folder.trim_end_matches('/');
        let database = format!("postgres://shop@{}/shop", self.stack.postgres.addr());
        for block in page {
            if block.language == "toml" && page.iter().any(|block| block.is_run) {
                let text = toml::to_string(&completed(&block.text)).expect("TOML");
                desk.write("tidegate.toml", &text);
            }
            if !block.is_run {
                continue;
            }
            let text = block
                .text
                .replace("postgres://shop:secret@db.example.com/shop", &database)
                .replace("127.0.0.1:9170", &self.node.data.to_string())
                .replace("tidegate purge", &format!("tidegate purge --admin {}", self.node.admin))
                .replace("/etc/", &format!("{folder}/etc/"))
                .replace("/usr/local/", &format!("{folder}/usr/local/"));
            let path = std::env::var("PATH").unwrap_or_default();
            let output = Command::new("bash")
                .args(["-euo", "pipefail", "-c", &text])
                .env("PATH", format!("{folder}/bin:{path}"))
                .env("USER", "ada")
                .env("DATABASE_URL", &database)
                .current_dir(folder)
                .output()
                .expect("bash runs");
            assert!(output.status.success(), "{}:\n{text}\n{output:?}", block.at);
            let printed = String::from_utf8_lossy(&output.stdout);
            for refused in ["\"status\":4", "\"status\":5"] {
                assert!(!printed.contains(refused), "{}: {printed}", block.at);
            }
        }
        desk
    }
}

#[test]
fn marked_commands_of_documents_run() {
    let shop = Shop::start();
    let blocks = blocks();
    let marked = blocks.iter().filter(|block| block.is_run).count();
    assert!(marked >= 7, "{marked} blocks");
    let mut written = Vec::new();
    for page in blocks.chunk_by(|one, other| one.page == other.page) {
        if page.iter().any(|block| block.is_run) {
            let desk = shop.run(&page.iter().collect::<Vec<_>>());
            let files = ["tidegate.toml", "tokens.toml", "admin.pem", "tidegate.schema.json"];
            written.extend(files.into_iter().filter(|name| desk.path(name).exists()));
        }
    }
    for name in ["tidegate.toml", "tokens.toml", "admin.pem", "tidegate.schema.json"] {
        assert!(written.contains(&name), "{name}");
    }
}
