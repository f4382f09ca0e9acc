//! Completions, manual pages and the schema.

use std::process::Command;

use super::Desk;

#[test]
fn completions_of_each_shell_name_commands() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = desk.run(&["completions", shell]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        for word in ["init", "check", "connect", "token"] {
            assert!(ended.stdout.contains(word), "{shell}: {word}");
        }
    }
    assert!(desk.run(&["completions", "bsh"]).stderr.contains("bash"), "the nearest is named");
    let script = desk.run(&["completions", "bash"]).stdout;
    desk.write("tidegate.bash", &script);
    // As a user who types `tidegate che` and presses the tabulator key.
    let complete = "source tidegate.bash; COMP_WORDS=(tidegate che); COMP_CWORD=1; \
                    _tidegate tidegate che tidegate; echo \"${COMPREPLY[@]}\"";
    let bash = Command::new("bash").args(["-c", complete]).current_dir(desk.path("")).output();
    let bash = bash.expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&bash.stdout).trim(), "check", "{bash:?}");
}

#[test]
fn manual_pages_of_every_command() {
    let desk = Desk::new();
    let page = desk.run(&["man"]);
    assert_eq!(page.code, Some(0), "{page:?}");
    assert!(page.stdout.contains(".TH tidegate 1"), "{page:?}");
    std::fs::create_dir(desk.path("man1")).expect("a folder");
    assert_eq!(desk.run(&["man", "--into", "man1"]).code, Some(0));
    let check = desk.read("man1/tidegate-check.1");
    assert!(check.contains("\\-\\-connect") && check.contains("Exit codes"), "{check}");
    assert!(desk.path("man1/tidegate-token-create.1").exists());
    let ended = desk.run(&["man", "--into", "missing"]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("missing/tidegate.1"), "{ended:?}");
}

#[test]
fn schema_is_json_and_knows_contracts() {
    let desk = Desk::new();
    let ended = desk.run(&["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let contract = &schema["properties"]["data"]["additionalProperties"]["properties"];
    assert_eq!(contract["unproven"]["enum"][0], "serve-stale", "{contract}");
    let route = &schema["properties"]["edge"]["properties"]["route"]["items"]["properties"];
    assert!(route["ignore_query"]["description"].as_str().is_some_and(|it| it.contains("utm_")));
}

#[test]
fn misspelt_command_and_option_suggested() {
    let desk = Desk::new();
    for (args, part) in [
        (&["chekc"][..], "'check'"),
        (&["int"], "'init'"),
        (&["check", "--conect"], "'--connect'"),
        (&["serve", "--conifg", "x"], "'--config'"),
    ] {
        let ended = desk.run(args);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(part), "{ended:?}");
    }
}
