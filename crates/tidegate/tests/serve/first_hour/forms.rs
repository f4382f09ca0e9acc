//! Forms that people write: each works, or is answered with the right one.

use harness::{Port, http};

use super::{Desk, sqlite};
use crate::stack::DEADLINE;

const SOURCE: &str = "[source.shop]\nurl = \"sqlite:shop.db\"\n";

fn desk() -> Desk {
    let desk = Desk::new();
    sqlite(&desk.path("shop.db"), "create table products(id integer primary key)");
    desk
}

fn check(desk: &Desk, text: &str) -> String {
    desk.write("tidegate.toml", text);
    let ended = desk.run(&["check"]);
    assert_eq!(ended.code, Some(3), "{text}\n{ended:?}");
    ended.stderr
}

#[test]
fn localhost_and_file_without_option_served() {
    let desk = desk();
    let ports = [(); 2].map(|()| Port::reserve().expect("a free port"));
    let [data, admin] = ports.each_ref().map(Port::number);
    desk.write(
        "shop.toml",
        &format!("{SOURCE}[listen]\ndata = \"localhost:{data}\"\nadmin = \"localhost:{admin}\"\n"),
    );
    let serve = harness::Process::builder(env!("CARGO_BIN_EXE_tidegate"));
    let mut node =
        serve.args(["serve", "shop.toml"]).folder(desk.path("")).start().expect("it starts");
    node.wait_for_http(ports[1].addr(), "/readyz", DEADLINE).expect("ready");
    assert_eq!(http::get(ports[0].addr(), "/data/x/1", DEADLINE).expect("an answer").status, 404);
    let ended = desk.run(&["audit", "--admin", &format!("localhost:{admin}")]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for args in [&["check", "shop.toml"][..], &["check", "--config", "shop.toml"]] {
        assert_eq!(desk.run(args).code, Some(0), "{args:?}");
    }
    assert_eq!(desk.run(&["check", "shop.toml", "--config", "shop.toml"]).code, Some(2));
}

/// Every address of the machine is no private listener without tokens.
#[test]
fn port_alone_means_every_address() {
    let desk = desk();
    desk.write("tidegate.toml", &format!("{SOURCE}[listen]\ngateway = \":8080\"\n"));
    assert_eq!(desk.run(&["check"]).code, Some(0));
    let output = check(&desk, &format!("{SOURCE}[listen]\nadmin = \":9180\"\n"));
    assert!(output.contains("0.0.0.0:9180") && output.contains("tokens"), "{output}");
}

#[test]
fn other_forms_answered_with_right_one() {
    let desk = desk();
    for (text, problem) in [
        (
            "[listen]\ngateway = \"8080\"\n",
            "write \"127.0.0.1:8080\" for this machine, or \":8080\"",
        ),
        ("[listen]\ngateway = \"http://localhost:8080\"\n", "write \"localhost:8080\""),
        ("[listen]\ngateway = \"shop.example:8080\"\n", "no name but localhost is looked up"),
        (
            "[source]\nurl = \"sqlite:shop.db\"\n",
            "line 1: source: has no name; write `[source.NAME]`",
        ),
        (
            "[[source]]\nname = \"shop\"\n[[source]]\nname = \"stock\"\n",
            "line 1: source: is a list; write one table for each, with a name: `[source.NAME]`",
        ),
        ("[[upstream]]\nurl = \"http://a\"\n", "write it once, in single brackets: `[upstream]`"),
        ("[edge.route]\npath = \"/\"\n", "write double brackets: `[[edge.route]]`"),
        (
            "[data]\nkey = \"v1:a:b:{id}\"\nstaleness = \"1s\"\n",
            "line 1: data: has no name; write `[data.NAME]`",
        ),
        ("[source.s]\nurl = \"postgres://u:p@ss@h/d\"\n", "write %40 for @"),
        ("[source.s]\nurl = \"postgres://u:p?w@h/d\"\n", "%3F for ?"),
        ("[source.s]\nurl = \"mysql://u:p#w@h/d\"\n", "%23 for #"),
        ("[source.s]\nurl = \"mysql://u:p/w@h/d\"\n", "password_file"),
        ("[shared]\nurl = \"redis://:p#w@h:6379\"\n", "%23 for #"),
    ] {
        let output = check(&desk, text);
        assert!(output.contains(problem), "{text}\n{output}");
        assert_eq!(output.trim().lines().count(), 1, "said once: {output}");
        for secret in ["p@ss", "p?w", "p#w", "p/w"] {
            assert!(!output.contains(secret), "{output}");
        }
    }
    desk.write("tidegate.yaml", "listen:\n  gateway: \":8080\"\n");
    let ended = desk.run(&["check", "tidegate.yaml"]);
    assert!(ended.stderr.contains("the configuration is TOML"), "{ended:?}");
    std::fs::remove_file(desk.path("tidegate.toml")).expect("removed");
    for command in ["check", "serve"] {
        let ended = desk.run(&[command]);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.stderr.contains("`tidegate init` writes a first configuration"), "{ended:?}");
    }
}

/// `check` and `serve` agree.
#[test]
fn configuration_without_source_refused_by_both() {
    let desk = Desk::new();
    desk.write("tidegate.toml", "[upstream]\nurl = \"http://127.0.0.1:3000\"\n");
    let outputs = ["check", "serve"].map(|command| {
        let ended = desk.run(&[command]);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        ended.stderr
    });
    assert_eq!(outputs[0], outputs[1]);
    assert!(outputs[0].contains("there is no [source.NAME]"), "{}", outputs[0]);
}

#[test]
fn problems_as_json_with_place() {
    let desk = desk();
    desk.write("tidegate.toml", "[listen]\ngatway = \":1\"\n");
    let ended = desk.run(&["check", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(json["problems"][0]["path"], "listen.gatway", "{json}");
    assert_eq!(json["problems"][0]["line"], 2, "{json}");
}
