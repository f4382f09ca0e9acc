//! Adding, revoking, and reading the file.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NOW_S: u64 = 1_800_000_000;

fn new(name: &str, role: Option<Role>, reads: &[&str]) -> NewToken {
    let reads = Reads::of_names(reads.iter().map(|name| (*name).to_owned()));
    NewToken { name: name.to_owned(), rights: Rights { role, reads }, lifetime: None }
}

#[test]
fn file_keeps_rights_and_no_secret() {
    let mut list = TokenList::default();
    let deploy = list.add(new("deploy", Some(Role::Operator), &[]), NOW_S).expect("added");
    let shop = list.add(new("shop", None, &["price", "stock"]), NOW_S).expect("added");
    let text = list.to_toml();
    for token in [&deploy, &shop] {
        assert!(!text.contains(token.expose()) && !text.contains(&token.expose()[4..]), "{text}");
    }
    let list = TokenList::parse(&text).expect("valid");
    assert_eq!(list.to_toml(), text);
    let deploy = list.holder(&deploy, FROM, NOW_S).expect("known");
    assert!(deploy.has(Role::Viewer) && deploy.has(Role::Operator) && !deploy.has(Role::Admin));
    assert!(!deploy.may_read("price"));
    let shop = list.holder(&shop, FROM, NOW_S).expect("known");
    assert!(shop.may_read("price") && !shop.may_read("billing") && !shop.has(Role::Viewer));
    assert_eq!(shop.name(), "shop");
}

#[test]
fn unknown_revoked_and_expired_tokens_refused() {
    let mut list = TokenList::default();
    let lifetime = Some(Duration::from_secs(60));
    let short = NewToken { lifetime, ..new("short", None, &["*"]) };
    let short = list.add(short, NOW_S).expect("added");
    assert!(list.holder(&short, FROM, NOW_S + 59).expect("valid").may_read("any"));
    let expired = list.holder(&short, FROM, NOW_S + 60).expect_err("expired");
    assert_eq!(expired, Refusal::ExpiredToken("short".to_owned()));
    list.remove("short").expect("there");
    assert_eq!(list.holder(&short, FROM, NOW_S).expect_err("revoked"), Refusal::UnknownToken);
    let other = AccessToken::generate().expect("randomness");
    assert_eq!(list.holder(&other, FROM, NOW_S).expect_err("unknown"), Refusal::UnknownToken);
}

#[test]
fn invalid_token_not_added() {
    let mut list = TokenList::default();
    let mut add = |name: &str, role, reads: &[&str]| {
        list.add(new(name, role, reads), NOW_S).map(drop).map_err(|err| err.to_string())
    };
    for name in ["", "a b", "a\nb", "anonymous", "\u{e4}", &"x".repeat(65)] {
        assert!(add(name, Some(Role::Admin), &[]).is_err(), "{name:?}");
    }
    assert!(add("nothing", None, &[]).is_err_and(|err| err.contains("may do nothing")));
    assert_eq!(add("twice", Some(Role::Viewer), &[]), Ok(()));
    assert!(add("twice", Some(Role::Viewer), &[]).is_err_and(|err| err.contains("already")));
}

#[test]
fn invalid_file_names_place() {
    let problem = |text: &str| match TokenList::parse(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(problems) => problems[0].to_string(),
    };
    assert!(problem("\n[[token]\n").starts_with("line 2: is not TOML"));
    assert!(problem("[[tokens]]").contains("did you mean `token`"));
    let whole = "[[token]]\nname = \"a\"\nrole = \"viewer\"\ncreated = \"2026-11-30T12:00:00Z\"\n";
    let hash = format!("sha256 = \"{}\"\n", "0".repeat(64));
    assert!(TokenList::parse(&format!("{whole}{hash}")).is_ok());
    assert!(problem(whole).contains("token[0].sha256: is missing"));
    assert!(problem(&format!("{whole}sha256 = \"x\"")).contains("token[0].sha256: is not a"));
    let misspelt = format!("{whole}{hash}").replace("viewer", "veiwer");
    assert!(problem(&misspelt).contains("viewer"));
    let without = format!("{whole}{hash}").replace("role = \"viewer\"\n", "");
    assert!(problem(&without).contains("may do nothing"));
    let twice = format!("{whole}{hash}{whole}{hash}");
    assert!(problem(&twice).contains("twice"));
}

proptest! {
    #[test]
    fn any_file_parsed_without_panic(text in "(?s).{0,200}") {
        let _ = TokenList::parse(&text);
    }
}
