//! The commands of an operator: how they get a token, and how they say that it does not suffice.

use super::{Guarded, text, wait};

#[test]
fn token_from_environment_or_file() {
    let (shop, root) = Guarded::start();
    let viewer = shop.token(&["monitoring", "--role", "viewer"]);
    let operator = shop.token(&["deploy", "--role", "operator"]);
    wait("the new tokens", || shop.admin("/metrics", &operator) == 200);
    let admin = shop.node.admin.to_string();
    let one = ["purge", "--tag", "product-1", "--admin", &admin];

    let without = shop.run(&[], &one);
    assert_eq!(without.status.code(), Some(3), "{}", text(&without));
    assert!(text(&without).contains("TIDEGATE_TOKEN"), "{}", text(&without));
    // Editors end a file with a line end, and so does `token create > FILE`.
    std::fs::write(shop.path("token"), format!("{operator}\n")).expect("written");
    let file = shop.path("token").display().to_string();
    for (env, args) in [
        (vec![("TIDEGATE_TOKEN", operator.as_str())], vec![]),
        (vec![("TIDEGATE_TOKEN_FILE", file.as_str())], vec![]),
        (vec![], vec!["--token-file", file.as_str()]),
        (vec![("TIDEGATE_TOKEN", viewer.as_str())], vec!["--token-file", file.as_str()]),
    ] {
        let purged = shop.run(&env, &[&one[..], &args].concat());
        assert_eq!(purged.status.code(), Some(0), "{}", text(&purged));
    }
    let argument = shop.run(&[], &[&one[..], &["--token", &operator]].concat());
    assert_eq!(argument.status.code(), Some(2), "there is no such argument: `ps` would show it");

    let refused = shop.ask(&viewer, &["purge", "--tag", "product-1"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(text(&refused).contains("needs the role operator"), "{}", text(&refused));
    let all = shop.ask(&operator, &["purge", "--all"]);
    assert!(text(&all).contains("needs the role admin"), "{}", text(&all));
    assert_eq!(shop.ask(&root, &["purge", "--all"]).status.code(), Some(0));
    let report = shop.ask(&viewer, &["audit", "--json"]);
    assert_eq!(report.status.code(), Some(0), "{}", text(&report));

    let broken = shop.ask("not a token", &["audit"]);
    assert_eq!(broken.status.code(), Some(3));
    assert!(!text(&broken).contains("not a token\""), "{}", text(&broken));
    let missing = shop.run(&[], &[&one[..], &["--token-file", "missing"]].concat());
    assert!(text(&missing).contains("missing"), "{}", text(&missing));
}

#[test]
fn tokens_listed_without_secrets() {
    let (shop, root) = Guarded::start();
    let reader = shop.token(&["web", "--read", "product_price", "--expires", "90d"]);
    let listed = shop.run(&[], &["token", "list"]);
    let listed_text = text(&listed);
    for part in ["root", "admin, reads *", "does not end", "web", "reads product_price", "ends in"]
    {
        assert!(listed_text.contains(part), "{part}: {listed_text}");
    }
    for token in [&root, &reader] {
        assert!(!listed_text.contains(token.as_str()));
        let file = std::fs::read_to_string(shop.path("tokens.toml")).expect("readable");
        assert!(!file.contains(&token[4..]), "hashes only");
    }
    for (args, code, part) in [
        (&["token", "create", "web", "--role", "viewer"][..], 2, "there is a token `web` already"),
        (&["token", "create", "x"], 2, "the caller may do nothing"),
        (
            &["token", "create", "x", "--read", "product_prize"],
            2,
            "did you mean \"product_price\"?",
        ),
        (&["token", "create", "x", "--role", "root"], 2, "viewer, operator, admin"),
        (&["token", "create", "anonymous", "--role", "viewer"], 2, "choose another name"),
        (&["token", "revoke", "webb"], 2, "the tokens are: root, web"),
        (&["token", "list", "--config", "missing.toml"], 3, "missing.toml"),
    ] {
        let output = shop.run(&[], args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output));
        assert!(text(&output).contains(part), "{args:?}: {}", text(&output));
    }
}
