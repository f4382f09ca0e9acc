//! The programs of `examples/clients`, each on a real node, behind proxies that lose the replies of executed requests. A
//! language that is not installed is left out, with a message.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::http;

use super::checkout::rehearsal::Rehearsal;
use super::lossy::LossyProxy;
use crate::stack::DEADLINE;

/// A language, and how its client is run.
struct Language {
    folder: &'static str,
    /// Its interpreter, or compiler.
    program: &'static str,
    /// Says whether the language is there with its libraries.
    probe: &'static [&'static str],
    /// The arguments before the addresses; the last one is the client's file.
    arguments: &'static [&'static str],
}

const LANGUAGES: [Language; 6] = [
    Language {
        folder: "python",
        program: "python3",
        probe: &["--version"],
        arguments: &["shop.py"],
    },
    Language { folder: "node", program: "node", probe: &["--version"], arguments: &["shop.mjs"] },
    Language {
        folder: "php",
        program: "php",
        probe: &["-r", "curl_init();"],
        arguments: &["shop.php"],
    },
    Language { folder: "ruby", program: "ruby", probe: &["--version"], arguments: &["shop.rb"] },
    Language { folder: "java", program: "javac", probe: &["--version"], arguments: &["Shop.java"] },
    Language { folder: "go", program: "go", probe: &["version"], arguments: &["run", "shop.go"] },
];

fn folder(language: &Language) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/clients").join(language.folder)
}

fn is_there(language: &Language) -> bool {
    let Language { program, probe, .. } = language;
    Command::new(program).args(*probe).output().is_ok_and(|output| output.status.success())
}

/// Starts a client; `built`: a folder for its compiled form.
fn start(language: &Language, built: &Path, addresses: [SocketAddr; 3]) -> Child {
    let mut program = Command::new(language.program);
    program.args(language.arguments);
    if language.folder == "java" {
        let compiled = program.current_dir(folder(language)).arg("-d").arg(built).output();
        let compiled = compiled.expect("javac runs");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        program = Command::new("java");
        // The compiler for long runs would take longer than the run.
        program.args(["-XX:TieredStopAtLevel=1", "-cp"]).arg(built).arg("Shop");
    }
    program
        .current_dir(folder(language))
        .env("GOCACHE", built)
        .env("GO111MODULE", "off")
        .args(addresses.map(|address| address.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client starts")
}

fn run(shop: &Rehearsal, language: &Language) {
    let (node, client) = shop.node();
    harness::until("a causal token", DEADLINE, || {
        let token = http::request(node.admin, "POST", "/api/v1/token", &[], b"", DEADLINE)?;
        Ok((token.status == 200).then_some(()))
    })
    .expect("the node follows the log");
    let name = language.folder;
    let built = tempfile::tempdir().expect("a folder");
    let sale = LossyProxy::start(node.sale, &["/v1/holds", "/v1/checkouts"]);
    let data = LossyProxy::start(node.data, &[]);
    shop.stand.stack.price(42, 1_042);
    let mut program = start(language, built.path(), [data.at, sale.at, node.admin]);
    let mut output = BufReader::new(program.stdout.take().expect("its output"));
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).expect("text") == 0 {
            break;
        }
        lines.push(line.trim_end().to_owned());
        if line.starts_with("change the price") {
            shop.stand.stack.price(42, 2_500);
            let mut input = program.stdin.take().expect("its input");
            input.write_all(b"\n").expect("written");
        }
    }
    let mut errors = String::new();
    program.stderr.take().expect("its errors").read_to_string(&mut errors).expect("text");
    assert!(program.wait().expect("ended").success(), "{name}: {lines:#?}\n{errors}");
    let line = |start: &str| {
        let found = lines.iter().find_map(|line| line.strip_prefix(start));
        found.unwrap_or_else(|| panic!("{name}: no {start:?} in {lines:#?}\n{errors}")).trim()
    };
    let price = line("price: 1042 GBP, bound: ");
    let bound: u64 = price.trim_end_matches(" ms").parse().unwrap_or_else(|_| panic!("{price}"));
    assert!(bound <= 1_000, "{name}: {price}");
    assert_eq!(line("batch:"), "1042 1043", "{name}");
    assert_eq!(line("absent:"), "urn:tidegate:problem:row-not-found", "{name}");
    assert_eq!(line("own write:"), "2500", "{name}");
    assert!(line("order:").ends_with(" 1999 EUR"), "{name}: {lines:#?}");
    assert_eq!(line("refused:"), "urn:tidegate:problem:sold-out 99", "{name}");
    assert_eq!(sale.lost(), 2, "{name}: the reply of the hold and of the payment");
    assert_eq!(client.stock("A"), [100, 0, 1, 99], "{name}: both were repeated with their keys");
    assert_eq!(shop.paid(), 1_999, "{name}");
    // A pool may open another connection while it has not seen the end of the last answer. Each loss ends one.
    assert!(data.connections() <= 2, "{name}: {} connections for 4 reads", data.connections());
    assert!(sale.connections() <= 4, "{name}: {} connections", sale.connections());
    shop.check();
}

#[expect(clippy::print_stdout, reason = "a test that was left out says so")]
fn check(name: &str) {
    let language = LANGUAGES.iter().find(|language| language.folder == name).expect("known");
    if !is_there(language) {
        println!("{name} is not installed: its client was not run");
        return;
    }
    run(&Rehearsal::start(), language);
}

#[test]
fn python_client_reads_and_orders_once() {
    check("python");
}

#[test]
fn node_client_reads_and_orders_once() {
    check("node");
}

#[test]
fn php_client_reads_and_orders_once() {
    check("php");
}

#[test]
fn ruby_client_reads_and_orders_once() {
    check("ruby");
}

#[test]
fn java_client_reads_and_orders_once() {
    check("java");
}

#[test]
fn go_client_reads_and_orders_once() {
    check("go");
}

/// docs/clients.md shows the files as they are.
#[test]
fn manual_shows_the_clients() {
    let page = include_str!("../../../../../docs/clients.md");
    for language in &LANGUAGES {
        let file = language.arguments.last().expect("a file");
        let text = std::fs::read_to_string(folder(language).join(file)).expect("readable");
        assert!(page.contains(&format!("\n{text}```\n")), "docs/clients.md differs from {file}");
    }
}
