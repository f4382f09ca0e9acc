//! Keys: one key per row, without personal data, and no key for two rows.

use contract::{Contract, IdKind, Key, KeyError, KeyTemplate, SensitiveValue, TemplateError};

fn price() -> KeyTemplate {
    KeyTemplate::parse("v1:catalog:price:{id}").expect("it is valid")
}

fn key_of(id: &str) -> Result<Key, KeyError> {
    price().key(&[("id", id)])
}

fn detected_in(id: &str) -> Option<SensitiveValue> {
    match key_of(id) {
        Err(KeyError::Sensitive { kind, .. }) => Some(kind),
        Err(other) => panic!("{id}: {other}"),
        Ok(_) => None,
    }
}

fn contract(id: &str) -> Contract {
    let text = format!("key = \"v1:catalog:price:{{id}}\"\nstaleness = \"1s\"\nid = \"{id}\"");
    Contract::from_toml("price", &text.parse().expect("well-formed")).expect("valid")
}

#[test]
fn plain_id_written_verbatim() {
    for id in ["42", "100000001", "85123A", "sku_1.2~b-c", "0", "SKU-2026-000123", "POST"] {
        assert_eq!(key_of(id).expect("a plain id").as_str(), format!("v1:catalog:price:{id}"));
    }
}

#[test]
fn free_text_is_hashed() {
    let a = key_of("red shoes").expect("free text");
    assert_eq!(a.as_str(), "v1:catalog:price:h-61959b3a303f52c5dd5ddc4cfd8c3098");
    for other in
        ["red  shoes", "Red shoes", "redshoes", "rote Schühe", "a:b", "a\nb", "a/b", "{id}"]
    {
        let key = key_of(other).expect("free text");
        assert_ne!(key, a);
        assert!(Key::parse(key.as_str()).is_ok());
    }
    assert_ne!(key_of("x").expect("short"), key_of(&"x".repeat(65)).expect("long"));
}

#[test]
fn value_like_a_hash_is_hashed() {
    let real = key_of("red shoes").expect("free text");
    let posed = real.as_str().rsplit(':').next().expect("there is an id").to_owned();
    assert_ne!(key_of(&posed).expect("it is hashed itself"), real);
}

#[test]
fn sensitive_value_rejected_unquoted() {
    use SensitiveValue::{Card, Email, Phone, Token};
    for (value, kind) in [
        ("jo@example.org", Email),
        ("jo%40example.org", Email),
        ("orders of jo.doe+x@shop.co.uk please", Email),
        ("+49 151 23456789", Phone),
        ("+4915123456789", Phone),
        ("(555) 123-4567", Phone),
        ("555-123-4567", Phone),
        ("0151 23456789", Phone),
        ("030/12345678", Phone),
        ("tel:+15551234567", Phone),
        ("4111111111111111", Card),
        ("4111 1111 1111 1111", Card),
        ("5500-0000-0000-0004", Card),
        ("378282246310005", Card),
        ("30569309025904", Card),
        ("6011111111111117", Card),
        ("4222222222222", Card),
        ("card=4111111111111111", Card),
        ("Bearer abcdefghijklmnopqrstuvwxyz", Token),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlc2lnbmF0dXJl", Token),
        ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", Token),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", Token),
        ("AKIAIOSFODNN7EXAMPLE", Token),
    ] {
        assert_eq!(detected_in(value), Some(kind), "{value}");
        let err = key_of(value).expect_err("refused").to_string();
        assert!(!err.contains(value), "{err}");
    }
}

#[test]
fn harmless_lookalikes_accepted() {
    for id in [
        "123456789",                            // an order number
        "5551234567",                           // bare digits are no phone number
        "2026-11-02",                           // a date
        "1763662224123",                        // a timestamp in ms
        "1798374652938471936",                  // a snowflake id
        "453178290142756869",                   // another, with a valid Luhn digit
        "4006381333931",                        // an EAN-13 barcode
        "4111111111111112",                     // wrong check digit
        "00000000-0000-4000-8000-000000000000", // a UUID
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "@handle",
        "icon@2x",
        "basic t-shirts",
        "token ring cards",
        "page 4 of 1111",
        "1.2.3",
        "sk_shirt",
    ] {
        assert_eq!(detected_in(id), None, "{id}");
    }
}

#[test]
fn non_canonical_id_rejected() {
    let auto = contract("auto");
    for alias in ["042", "+42", "-0", "42.0", "4.2e1", " 42", "4_2", "0x2a", "0B101010", ".5"] {
        assert!(matches!(auto.key(alias), Err(KeyError::NotCanonical(_))), "{alias}");
    }
    for alias in ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc999c0b4ef8bb6d6bb9bd380a11"] {
        assert!(matches!(auto.key(alias), Err(KeyError::NotCanonical(_))), "{alias}");
    }
    for id in
        ["42", "-7", "0", "85123A", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "nan", "e5", "12-34"]
    {
        assert!(auto.key(id).is_ok(), "{id}");
    }
    assert!(contract("text").key("042").is_ok());
    assert!(contract("integer").key("85123A").is_err());
    assert!(contract("uuid").key("42").is_err());
    assert!(IdKind::Integer.check("9223372036854775807").is_ok());
}

#[test]
fn key_contains_tenant_and_variants() {
    let text = KeyTemplate::parse("v2:catalog:text:{tenant}:{id}:{locale}").expect("valid");
    let key = text.key(&[("id", "42"), ("tenant", "acme"), ("locale", "de")]).expect("complete");
    assert_eq!(key.as_str(), "v2:catalog:text:acme:42:de");
    assert_eq!(key.prefix(), "v2:catalog:text");
    let err = text.key(&[("id", "42"), ("locale", "de")]).expect_err("no tenant");
    assert_eq!(err, KeyError::Missing("tenant".to_owned()));
    let search = KeyTemplate::parse("v1:search:hits:{id|hash}").expect("valid");
    assert!(search.key(&[("id", "42")]).expect("complete").as_str().contains(":h-"));
}

#[test]
fn malformed_template_names_error() {
    let err = |text: &str| KeyTemplate::parse(text).expect_err("malformed");
    assert_eq!(err("price:{id}"), TemplateError::Segments(2));
    assert_eq!(err("1:catalog:price:{id}"), TemplateError::Version("1".into()));
    assert_eq!(err("v0:catalog:price:{id}"), TemplateError::Version("v0".into()));
    assert_eq!(err("v1:Catalog:price:{id}"), TemplateError::Service("Catalog".into()));
    assert_eq!(err("v1:catalog:{id}:x"), TemplateError::Entity("{id}".into()));
    assert_eq!(err("v1:catalog:price:all"), TemplateError::NoId);
    assert_eq!(err("v1:catalog:price:p{id}"), TemplateError::Segment("p{id}".into()));
    assert_eq!(err("v1:catalog:price:{id}:{id}"), TemplateError::Twice("id".into()));
    assert!(matches!(err("v1:catalog:price:{id"), TemplateError::Placeholder(_)));
    assert!(matches!(err("v1:catalog:price:{id|md5}"), TemplateError::Placeholder(_)));
}

#[test]
fn template_clash_is_exact() {
    let clash = |a: &str, b: &str| {
        let (a, b) = (KeyTemplate::parse(a).expect("valid"), KeyTemplate::parse(b).expect("valid"));
        assert_eq!(a.clashes_with(&b), b.clashes_with(&a));
        a.clashes_with(&b)
    };
    assert!(clash("v1:a:b:{id}", "v1:a:b:{id}"));
    assert!(clash("v1:a:b:{id}:de", "v1:a:b:{id}:{locale}"));
    assert!(!clash("v1:a:b:{id}:de", "v1:a:b:{id}:en"));
    assert!(!clash("v1:a:b:{id}", "v1:a:b:{id}:{locale}"));
    assert!(!clash("v1:a:b:{id}", "v1:a:c:{id}"));
    assert!(!clash("v1:a:b:{id}:de", "v1:a:b:{id}:{query|hash}"));
}

#[test]
fn key_parse_checks_form() {
    for good in ["v1:edge:page:GET/p/42", "v12:a:b:c:d:e", "v1:a:b_c:~"] {
        assert_eq!(Key::parse(good).expect("well-formed").to_string(), good);
    }
    for bad in [
        "",
        "v1",
        "v1:a:b",
        "v1:a:b:",
        "x1:a:b:c",
        "v1:a:b:c d",
        "v1:a:b:c\n",
        "v1:a:b:{x}",
        "v1:a:b:ü",
    ] {
        assert!(Key::parse(bad).is_err(), "{bad:?}");
    }
    assert!(matches!(
        Key::parse(&format!("v1:a:b:{}", "x".repeat(600))),
        Err(KeyError::TooLong(607))
    ));
}

#[test]
fn template_matches_its_keys() {
    let template = |text: &str| KeyTemplate::parse(text).expect("it is valid");
    let key = |text: &str| Key::parse(text).expect("it is valid");
    for (text, matching, others) in [
        (
            "v1:catalog:price:{id}",
            &["v1:catalog:price:42", "v1:catalog:price:h-00"][..],
            &["v2:catalog:price:42", "v1:catalog:prices:42", "v1:catalog:price:42:de"][..],
        ),
        (
            "v1:catalog:price:eu:{id}",
            &["v1:catalog:price:eu:42"],
            &["v1:catalog:price:us:42", "v1:catalog:price:eu", "v1:catalog:price:eu:42:7"],
        ),
    ] {
        assert!(matching.iter().all(|matching| template(text).matches(&key(matching))), "{text}");
        assert!(!others.iter().any(|other| template(text).matches(&key(other))), "{text}");
    }
}

#[test]
fn absent_filter_without_proof_rejected() {
    let read = |edit: &dyn Fn(String) -> String| {
        let text = "key = \"v1:catalog:price:{id}\"\nstaleness = \"1s\"\n\
                    value = \"select price from products where id = $id\"\n\
                    from = { source = \"shop\", table = \"products\" }\n\
                    absent_filter = true\n";
        let table = edit(text.to_owned()).parse().expect("well-formed");
        Contract::from_toml("price", &table)
    };
    let filter = read(&|text| text).expect("valid").absent_filter.expect("enabled");
    assert_eq!((filter.false_positives, filter.max_size_bytes), (0.01, 16 << 20));
    let table = "{ false_positives = 0.001, max_size = \"1MiB\", rebuild = \"5min\" }";
    let contract = read(&|text| text.replace("filter = true", &format!("filter = {table}")));
    let contract = contract.expect("valid");
    let filter = contract.absent_filter.expect("enabled");
    assert_eq!((filter.false_positives, filter.max_size_bytes), (0.001, 1 << 20));
    assert_eq!(filter.rebuild.as_secs(), 300);
    let again = Contract::from_toml("price", &contract.to_toml()).expect("it reads back");
    assert_eq!(again, contract);
    assert_eq!(read(&|text| text.replace("= true", "= false")).expect("none").absent_filter, None);
    for (from, to, why) in [
        ("select price", "select count(*) as n", "`value` is not"),
        ("{id}\"", "{id}:{locale}\"", "more than the row's id"),
        ("= true", "= true\ntiers = [\"shared\"]", "cached in the process"),
        ("\"1s\"", "\"0s\"", "budget is zero"),
        ("= true", "= { rebuild = \"1s\" }", "out of range"),
        ("= true", "= { false_positives = 1 }", "out of range"),
        ("= true", "= \"yes\"", "true, false or a table"),
        ("= true", "= { expected = 7 }", "is not a known key"),
    ] {
        let err = read(&|text| text.replace(from, to)).expect_err(to).to_string();
        assert!(err.contains(why) && err.contains("absent_filter"), "{to}: {err}");
    }
}
