use toml::Value;

use super::*;

const SOUND: &str = r#"
key = "v1:catalog:thing:{id}"
value = "select a, b from things where id = $id"
from = { source = "shop", table = "things", columns = ["a", "b"] }
tags = ["thing-{id}"]
staleness = "30s"
owner = "catalog"
approved = { by = ["product"], on = 2026-11-02 }
"#;

fn review(text: &str) -> Vec<Finding> {
    let table: toml::Table = text.parse().expect("the test's TOML is well-formed");
    let data = [("thing".to_owned(), Value::Table(table))].into_iter().collect();
    lint_toml(&data)
}

/// Returns the rules that `SOUND` violates once `more` is added. Keys in `more` replace those of `SOUND`.
fn rules(more: &str) -> Vec<&'static str> {
    let mut table: toml::Table = SOUND.parse().expect("well-formed");
    table.extend(more.parse::<toml::Table>().expect("well-formed"));
    let data = [("thing".to_owned(), Value::Table(table))].into_iter().collect();
    lint_toml(&data).into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn sound_contract_has_no_findings() {
    assert_eq!(rules(""), [""; 0]);
}

#[test]
fn owner_and_approval_required() {
    let found: Vec<_> =
        review("key = \"v1:a:b:{id}\"\nstaleness = \"1s\"\nimmutable = true\nttl = \"1s\"")
            .into_iter()
            .map(|finding| (finding.severity, finding.rule))
            .collect();
    assert_eq!(found, [(Severity::Error, "owner-missing"), (Severity::Error, "approval-missing")]);
    assert_eq!(rules("unproven = \"fail\""), ["pager-missing"]);
    assert_eq!(rules("unproven = \"fail\"\npager = \"x\""), [""; 0]);
}

#[test]
fn ttl_is_safety_net() {
    assert_eq!(rules("ttl = \"5min\""), ["ttl-not-safety-net"]);
    assert_eq!(rules("ttl = \"10s\""), ["ttl-not-safety-net"]);
    assert_eq!(rules("ttl = \"60s\""), [""; 0]);
    assert_eq!(rules("ttl = \"0s\""), ["ttl-zero"]);
    assert_eq!(rules("ttl = \"8days\""), ["ttl-over-cap"]);
    assert_eq!(
        rules("ttl = \"10min\"\nabsent_ttl = \"6min\""),
        ["ttl-not-safety-net", "absence-too-long"]
    );
    assert_eq!(rules("staleness = \"0s\""), ["budget-zero"]);
    assert_eq!(rules("tiers = []\nttl = \"0s\""), [""; 0], "uncached data has no TTL");
    assert_eq!(rules("preset = \"static\"\nstaleness = \"365days\""), [""; 0]);
}

#[test]
fn sliding_without_effect_reported() {
    let sliding = |more: &str| rules(&format!("sliding = true\n{more}"));
    assert_eq!(sliding(""), [""; 0]);
    assert_eq!(sliding("ttl = \"10s\""), [""; 0], "unused entries expire before the budget ends");
    assert_eq!(sliding("retention = \"30s\""), ["sliding-in-vain"]);
    assert_eq!(sliding("retention = \"1h\""), [""; 0]);
    assert_eq!(sliding("ttl = \"31s\""), ["ttl-not-safety-net"]);
    let session = "preset = \"session\"\nstaleness = \"24h\"\nresidency = \"eu\"\npager = \"x\"\n";
    assert_eq!(rules(&format!("{session}retention = \"30days\"")), [""; 0]);
    let found = review(&format!("{}{session}", SOUND.replace("staleness = \"30s\"\n", "")));
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert!(finding.fix.contains("retention = \"30days\""), "{}", finding.fix);
    let without_from = |more: &str| {
        let text = format!("{}sliding = true\n{more}", SOUND.replace("from = ", "# from = "));
        let found = review(&text);
        found.into_iter().map(|finding| finding.rule).collect::<Vec<_>>()
    };
    assert_eq!(without_from(""), ["sliding-in-vain", "nothing-invalidates"]);
    assert_eq!(
        without_from("ttl = \"10s\""),
        ["nothing-invalidates"],
        "up to the budget from the load"
    );
    assert_eq!(without_from("immutable = true"), [""; 0]);
}

#[test]
fn serve_stale_reports_worst_case() {
    let text = format!("{}unproven = \"serve-stale\"\n", SOUND.replace("30s", "5min"));
    let found = review(&text);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.severity, finding.rule), (Severity::Info, "worst-case-over-budget"));
    assert!(
        finding.message.contains(
            "can be 27m old where the budget is 5m: 2 tiers × 10m TTL × 1.10 jitter + 5m"
        ),
        "{}",
        finding.message
    );
    assert_eq!(rules("unproven = \"read-origin\"\nttl = \"60s\""), [""; 0], "the bound fences");
}

#[test]
fn sensitive_data_must_fail_closed() {
    assert_eq!(rules("preset = \"inventory\"\ntiers = [\"local\"]"), ["never-cached"]);
    assert_eq!(rules("preset = \"inventory\""), [""; 0]);
    let personal = "residency = \"eu\"\nretention = \"30days\"\n";
    assert_eq!(
        rules(&format!("{personal}sensitivity = \"auth\"")),
        ["sensitive-in-process", "sensitive-not-fail"]
    );
    assert_eq!(rules(&format!("{personal}preset = \"financial\"\npager = \"x\"")), [""; 0]);
    assert_eq!(
        rules(&format!(
            "{personal}preset = \"financial\"\nsensitivity = \"public\"\nunproven = \"read-origin\""
        )),
        ["sensitive-not-fail"],
        "the preset fixes the field"
    );
    assert_eq!(rules("sensitivity = \"personal\""), ["residency-missing", "retention-missing"]);
    let short = "sensitivity = \"personal\"\nresidency = \"eu\"\nretention = \"10s\"";
    assert_eq!(rules(short), ["retention-below-ttl"]);
}

#[test]
fn user_input_must_be_hashed() {
    let sql = "value = \"select a from things where id = $id and hits = $query\"";
    let rules = |key: &str| rules(&format!("key = \"v1:search:hits:{key}\"\n{sql}"));
    assert_eq!(rules("{id}:{query}"), ["user-input-in-key"]);
    assert_eq!(rules("{id}:{query|hash}"), [""; 0]);
}

#[test]
fn statement_selects_by_variants_only() {
    let rules = |sql: &str| {
        rules(&format!("key = \"v1:a:b:{{tenant}}:{{id}}:{{currency}}\"\nvalue = \"{sql}\""))
    };
    let by = "select a from things where id = $id";
    assert_eq!(rules(&format!("{by} and b = $currency")), [""; 0]);
    assert_eq!(rules(by), ["value-without-variant"]);
    let tenant = format!("{by} and b = $currency and tenant = $tenant");
    assert_eq!(rules(&tenant), ["value-tenant-parameter"]);
}

#[test]
fn tag_column_outside_identity_reported() {
    assert_eq!(rules("tags = [\"category-{category_id}\"]"), ["replica-identity"]);
    assert_eq!(rules("tags = [\"thing-{id}\", \"things\"]"), [""; 0]);
}

#[test]
fn statement_must_be_one_select_by_id() {
    let sql = |sql: &str| rules(&format!("value = '''{sql}'''"));
    assert_eq!(sql("select a from things"), ["value-without-id"]);
    assert_eq!(sql("select a from things where id = $id;"), ["value-semicolon"]);
    assert_eq!(sql("delete from things where id = $id"), ["value-not-select"]);
    assert_eq!(
        sql("with x as (update things set a = 1 where id = $id returning a) select a from x"),
        ["value-not-select"]
    );
    assert_eq!(
        sql("select a from things where id = $1"),
        ["value-without-id", "value-unknown-parameter"]
    );
    assert_eq!(sql("select a, now() from things where id = $id"), ["value-by-the-clock"]);
    assert_eq!(sql("select a, random() from things where id = $id"), ["value-not-from-rows"]);
    assert_eq!(sql("select a from things where lower(sku) = lower($id)"), ["value-folds-case"]);
    assert_eq!(
        sql("select t.a, c.name from things t join categories c on c.id = t.c where t.id = $id"),
        ["value-reads-other-tables"]
    );
}

#[test]
fn clock_without_times_reported() {
    let with = |value: &str, changes: &str| {
        let changes =
            if changes.is_empty() { String::new() } else { format!("changes_at = \"{changes}\"") };
        rules(&format!("value = \"{value}\"\n{changes}"))
    };
    let times = "select a from things where id = $id";
    for clock in ["now()", "CURRENT_DATE", "utc_timestamp(6)", "date('now')", "curdate()"] {
        let value = format!("select a from things where id = $id and a > {clock}");
        assert_eq!(with(&value, ""), ["value-by-the-clock"], "{clock}");
        assert_eq!(with(&value, times), [""; 0], "{clock}");
    }
    let unwatched = "select c from things where id = $id";
    let value = "select a from things where id = $id and a > now()";
    assert_eq!(with(value, unwatched), ["value-column-not-watched"]);
    let random = "select a, random() from things where id = $id";
    assert_eq!(with(random, times), ["value-not-from-rows"], "no time tells when it changes");
    let value = "select a from things where id = $id";
    assert_eq!(with(value, "delete from things"), ["changes-not-select"]);
    assert_eq!(with(value, "select a from things; select 1"), ["changes-not-select"]);
}

#[test]
fn unwatched_value_column_reported() {
    let sql = |sql: &str| rules(&format!("value = '''{sql}'''"));
    assert_eq!(sql("select a, c from things where id = $id"), ["value-column-not-watched"]);
    assert_eq!(sql("select *\nfrom things where id = $id"), ["value-column-not-watched"]);
    assert_eq!(sql("select t.* from things t where id = $id"), ["value-column-not-watched"]);
    let computed = "select a as price, t.b c, id, 1, coalesce(a, b), (select c from things) d \
                    from things t where id = $id";
    assert_eq!(sql(computed), [""; 0]);
    let any = "value = \"select * from things where id = $id\"\n\
               from = { source = \"shop\", table = \"things\" }";
    assert_eq!(rules(any), [""; 0]);
}

#[test]
fn sql_outline_skips_strings_and_comments() {
    for sql in [
        "select 'it''s; now() from moon' as a from things where id = $id -- ; $2",
        "select a /* ; from moon */ from public.things where id = $id",
        "with own as (select a from things where id = $id) select a from own",
        "select extract(year from made) as a from \"things\" where id=$id::int",
        "select $tag$ ; $1 $tag$ as a from things where (id) = ($id)",
        "SELECT a FROM Things WHERE id = $id AND b IS DISTINCT FROM a",
    ] {
        assert_eq!(
            rules(&format!("value = \"\"\"{}\"\"\"", sql.replace('"', "\\\""))),
            [""; 0],
            "{sql}"
        );
    }
}

#[test]
fn unparsable_contract_hides_no_findings() {
    let data: toml::Table =
        "[a]\nstalenes = \"1s\"\n[b]\nkey = \"v1:s:e:{id}\"\nstaleness = \"1s\"\n\
                             [c]\nkey = \"v1:s:e:{id}\"\nstaleness = \"1s\"\n"
            .parse()
            .expect("well-formed");
    let found = lint_toml(&data);
    let of = |name: &str| {
        found.iter().filter(|f| f.contract == name).map(|f| f.rule).collect::<Vec<_>>()
    };
    assert_eq!(of("a"), ["unknown-key", "missing", "missing"]);
    assert_eq!(of("b"), ["owner-missing", "approval-missing", "nothing-invalidates"]);
    assert_eq!(of("c")[0], "key-clash");
}

#[test]
fn finding_has_stable_text_and_json() {
    let found = review(&format!("{SOUND}ttl = \"8days\""));
    let text = found[0].to_string();
    assert!(text.starts_with("error[ttl-over-cap] data.thing.ttl\n  the TTL is 8days"), "{text}");
    assert!(text.contains("\n  why: ") && text.contains("\n  fix: "), "{text}");
    let json = serde_json::to_value(&found[0]).expect("plain data");
    let keys: Vec<_> = json.as_object().expect("an object").keys().cloned().collect();
    assert_eq!(keys, ["rule", "severity", "contract", "path", "message", "reason", "fix"]);
    assert_eq!(json["severity"], "error");
}

#[test]
fn page_tags_are_apart_and_raised() {
    assert_eq!(rules("page_tags = [\"row-{id}\"]"), [""; 0]);
    assert_eq!(rules("page_tags = [\"thing-{id}\"]"), ["page-tag-on-entries"]);
    assert_eq!(rules("page_tags = [\"row-{shelf}\"]"), ["replica-identity"]);
    let without_from = SOUND.replace("from =", "lost =").replace("tags =", "page_tags =");
    let table: String = without_from
        .lines()
        .filter(|line| !line.starts_with("lost"))
        .fold(String::new(), |text, line| text + line + "\n");
    assert!(review(&table).iter().any(|finding| finding.rule == "page-tags-without-from"));
}
