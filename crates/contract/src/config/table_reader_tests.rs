use std::collections::BTreeSet;

use super::*;

fn table(text: &str) -> toml::Table {
    text.parse().expect("the test's TOML is well-formed")
}

/// Reads a section as the other crates do.
fn read_local(text: &str) -> Result<(u64, Duration, bool, Vec<u32>), Vec<String>> {
    let table = table(text);
    let mut local = TableReader::new("local", &table, &["memory", "timeout", "mode", "pool"]);
    let memory = local.size("memory", 1 << 20..=u64::MAX).unwrap_or(256 << 20);
    let day = Duration::from_secs(86_400);
    let timeout = local.duration("timeout", Duration::from_nanos(1)..=day);
    let mode = local.choice("mode", &[("on", true), ("off", false)]).unwrap_or(true);
    let pools = local.tables("pool", &["share"], |pool| pool.whole_number("share", 0..=90));
    let local = local.finish(Some((memory, timeout.unwrap_or(day), mode, pools)));
    local.map_err(|problems| problems.iter().map(Problem::to_string).collect())
}

#[test]
fn section_is_read_with_defaults() {
    let day = Duration::from_secs(86_400);
    assert_eq!(read_local(""), Ok((256 << 20, day, true, vec![])));
    let full = "memory = \"64mib\"\ntimeout = \"50ms\"\nmode = \"off\"\n\
                pool = [{ share = 25 }, { share = 50.0 }]";
    assert_eq!(read_local(full), Ok((64 << 20, Duration::from_millis(50), false, vec![25, 50])));
}

#[test]
fn all_problems_are_reported_at_once() {
    let problems = read_local(
        "memory = \"5 parsecs\"\ntimeout = \"0s\"\nmode = \"offf\"\nmemroy = 1\nzebra = 2\n\
         pool = [{ share = 1.5 }, { shares = 1 }, 3]",
    )
    .expect_err("everything is wrong");
    let starts = [
        "local.memroy: is not a known key; did you mean `memory`?",
        "local.zebra: is not a known key; remove it; the known keys are: memory, timeout, mode, pool",
        "local.memory: `5 parsecs` is not a size; write a number and a unit",
        "local.timeout: `0s` is out of range; write a number and a unit",
        "local.mode: `offf` is not a known value; did you mean \"off\"? The values are: on, off",
        "local.pool[0].share: 1.5 is not a whole number; choose 0 to 90",
        "local.pool[1].shares: is not a known key; did you mean `share`?",
        "local.pool[2]: is the number 3; write a table",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}\n{start}");
    }
}

#[test]
fn root_keys_have_no_leading_dot() {
    let root = table("lokal = { memory = 1 }\nnode = 3");
    let reader = TableReader::new("", &root, &["local", "node"]);
    let problems = reader.finish(Some(())).expect_err("an unknown key");
    assert_eq!(problems[0].to_string(), "lokal: is not a known key; did you mean `local`?");
    let err = TableReader::from_value("node", &root["node"], &[]).expect_err("a number");
    assert_eq!(err.to_string(), "node: is the number 3; write a table, `[node]`");
}

#[test]
fn synonym_wins_over_spelling() {
    let table = table("budget = 1");
    let synonyms = [("budget", "staleness")];
    let reader = TableReader::with_synonyms("a", &table, &["gadget", "staleness"], &synonyms);
    let problems = reader.finish(Some(())).expect_err("an unknown key");
    assert_eq!(problems[0].help, "did you mean `staleness`?");
}

#[test]
fn choices_report_each_item() {
    let table = table("tiers = [\"local\", \"lokal\", 3]");
    let mut reader = TableReader::new("a", &table, &["tiers"]);
    assert_eq!(reader.choices("tiers", &[("local", 1), ("shared", 2)]), [1]);
    let problems = reader.finish(Some(())).expect_err("two wrong items");
    assert_eq!(problems[0].path, "a.tiers[1]");
    assert!(problems[0].help.contains("did you mean \"local\"?"), "{}", problems[0]);
    assert_eq!(problems[1].to_string(), "a.tiers[2]: is the number 3; write text in quotes");
}

#[test]
fn list_items_parsed_with_their_keys() {
    let table = table("peers = [\"8\", \"hunter2\", 3]");
    let mut reader = TableReader::new("a", &table, &["peers"]);
    let parse = |text: &str| {
        text.parse().map_err(|_| ValueError::wrong_value("is not a number", "write a number"))
    };
    assert_eq!(reader.list_with::<u8>("peers", parse), [("peers[0]".to_owned(), 8)]);
    let problems = reader.finish(Some(())).expect_err("two wrong items");
    assert_eq!(problems[0].to_string(), "a.peers[1]: is not a number; write a number");
    assert_eq!(problems[1].to_string(), "a.peers[2]: is the number 3; write text in quotes");
}

#[test]
fn secret_stays_out_of_problems() {
    for (text, start) in [
        ("secret = \"hunter2\"", "a.secret: has 7 bytes; write 8"),
        ("secret = 2222", "a.secret: is not text"),
        ("secret = \" \"", "a.secret: is empty"),
        ("", "a.secret: is missing; write 8"),
    ] {
        let table = table(text);
        let mut reader = TableReader::new("a", &table, &["secret"]);
        let secret = reader.required_text_with("secret", "write 8 bytes", |text| {
            let message = format!("has {} bytes", text.len());
            Err::<(), _>(ValueError::wrong_value(message, "write 8 bytes"))
        });
        let problems = reader.finish(secret).expect_err(text);
        let problem = problems[0].to_string();
        assert!(problem.starts_with(start) && !problem.contains('2'), "{problem}");
    }
}

#[test]
fn survey_lists_all_keys() {
    let known = ["memory", "source", "pool", "forgotten"];
    let survey = TableReader::survey(&known, |table| {
        table.nested("memory", &["size"], |memory| memory.size("size", 0..=1));
        table.named_tables("source", &["url"], |source| {
            source.required_text_with("url", "", |_| Ok(()))
        });
        table.tables("pool", &["share", "name"], |pool| pool.whole_number("share", 0..=90));
    });
    let keys = |keys: &BTreeSet<String>| keys.iter().cloned().collect::<Vec<_>>().join(" ");
    let expected = "memory memory.size pool pool[].share source source.NAME.url";
    assert_eq!(keys(&survey.read), expected);
    assert_eq!(keys(&survey.unread), "forgotten pool[].name");
}

#[test]
fn named_tables_read_by_name() {
    let root = table("source = { a = { url = \"x\" }, b = { url = 1 }, c = 2 }");
    let mut reader = TableReader::new("", &root, &["source"]);
    let read = |table: &mut TableReader<'_>| table.text("url").map(str::to_owned);
    let named = reader.named_tables("source", &["url"], read);
    assert_eq!(named, BTreeMap::from([("a".to_owned(), "x".to_owned())]));
    let problems = reader.finish(Some(())).expect_err("two are wrong");
    assert!(problems[0].to_string().starts_with("source.b.url: "), "{}", problems[0]);
    assert!(problems[1].to_string().starts_with("source.c: is the number 2; write a table"));
}

#[test]
fn wrong_kind_of_table_named_with_right_brackets() {
    let text = "[source]\nurl = \"a\"\n[[upstream]]\nurl = \"b\"\n[route]\npath = \"/\"";
    let table: toml::Table = text.parse().expect("well-formed");
    let mut root = TableReader::new("", &table, &["source", "upstream", "route"]);
    let url = |table: &mut TableReader<'_>| table.text("url").map(str::to_owned);
    assert!(root.named_tables("source", &["url"], url).is_empty());
    assert_eq!(root.nested("upstream", &["url"], url), None);
    assert!(root.tables("route", &["path"], |_| Some(())).is_empty());
    let problems = root.finish(Some(())).expect_err("three problems");
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "source: has no name; write `[source.NAME]`, such as `[source.shop]`, above its keys",
            "upstream: is a list of tables; write it once, in single brackets: `[upstream]`",
            "route: is one table, not a list of them; write double brackets: `[[route]]`",
        ]
    );
}

#[test]
fn survey_records_forms_and_required_keys() {
    let survey = TableReader::survey(&["mode", "size", "url", "on"], |table| {
        table.choice("mode", &[("a", 1), ("b", 2)]);
        table.size("size", 0..=9);
        table.required_text_with("url", "write it", |text| Ok(text.to_owned()));
        table.switch("on", (), &["every"], |table| table.flag("every").map(drop))
    });
    let words = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(survey.forms["mode"], [KeyForm::Words(words)]);
    assert_eq!(survey.forms["on"], [KeyForm::Flag, KeyForm::Table]);
    assert_eq!(
        (&survey.forms["url"][..], survey.required.contains("url")),
        (&[KeyForm::Text][..], true)
    );
    assert_eq!(survey.forms["on.every"], [KeyForm::Flag]);
}
