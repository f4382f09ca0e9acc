use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;

const NAME: &str = "{tg:0}:k:v1:catalog:price:42";
const CONTENT: &[u8] = b" p 1 2 3 4 5 1 2 t\nxyz";

fn signatures(keys: &[&str]) -> Signatures {
    let keys: Vec<String> = keys.iter().map(|key| key.repeat(32)).collect();
    Signatures::new(Some(SigningKeys::new(&keys).expect("keys")), false)
}

/// Returns an entry as the script completes it.
fn entry(signatures: &Signatures, epoch: &str, tau: u64) -> Vec<u8> {
    let mut content = CONTENT.to_vec();
    let term = Term { tau: Lsn(tau), expires_ms: 1_000_000 };
    signatures.seal(NAME, epoch, term, &mut content);
    let mut raw = format!("{} {epoch} {tau} 0", signatures.format(false)).into_bytes();
    raw.extend(content);
    raw
}

fn verdict(signatures: &Signatures, name: &str, mut raw: Vec<u8>) -> Result<bool, Distrust> {
    signatures.open(name, &mut raw).map(|term| term.is_some())
}

#[test]
fn entry_accepted_under_its_own_name_only() {
    let signed = signatures(&["a"]);
    let raw = entry(&signed, "1.2.3.4", 900);
    assert_eq!(verdict(&signed, NAME, raw.clone()), Ok(true));
    for name in ["{tg:0}:k:v1:catalog:price:43", "{other:0}:k:v1:catalog:price:42"] {
        assert_eq!(verdict(&signed, name, raw.clone()), Err(MacError::Mismatch.into()), "{name}");
    }
    let mut other_word = raw.clone();
    other_word[..3].copy_from_slice(signed.format(true).as_bytes());
    assert_eq!(verdict(&signed, NAME, other_word), Err(MacError::Mismatch.into()));
    let other_epoch = String::from_utf8_lossy(&raw).replace("1.2.3.4", "1.2.3.5");
    assert!(verdict(&signed, NAME, other_epoch.into_bytes()).is_err());
}

#[test]
fn position_may_rise_and_never_fall() {
    let signed = signatures(&["a"]);
    let moved = |tau: &str| {
        let raw = entry(&signed, "1.2.3.4", 900);
        let mut moved = format!("tg4 1.2.3.4 {tau}").into_bytes();
        moved.extend_from_slice(&raw["tg4 1.2.3.4 900".len()..]);
        moved
    };
    assert_eq!(verdict(&signed, NAME, moved("1000")), Ok(true));
    assert_eq!(verdict(&signed, NAME, moved("899")), Err(MacError::Mismatch.into()));
}

#[test]
fn keys_rotate_and_their_absence_is_named() {
    let (old, both) = (signatures(&["a"]), signatures(&["b", "a"]));
    let raw = entry(&old, "1.2.3.4", 900);
    assert_eq!(verdict(&both, NAME, raw.clone()), Ok(true));
    let newer = verdict(&old, NAME, entry(&both, "1.2.3.4", 900));
    assert!(matches!(newer, Err(Distrust::Mac(MacError::UnknownKey(_)))), "{newer:?}");
    let without = Signatures::default();
    assert_eq!(verdict(&without, NAME, raw), Err(Distrust::NoKeys));
    let unsigned = entry(&without, "1.2.3.4", 900);
    assert_eq!(verdict(&without, NAME, unsigned.clone()), Ok(false));
    assert_eq!(verdict(&old, NAME, unsigned.clone()), Err(Distrust::Unsigned));
    let lenient = Signatures { accepts_unsigned: true, ..old };
    assert_eq!(verdict(&lenient, NAME, unsigned), Ok(false));
}

#[test]
fn life_ends_by_the_readers_clock() {
    let term = Term { tau: Lsn(1), expires_ms: 100_000 };
    assert_eq!(term.check(160_000, 0), Ok(()));
    assert_eq!(term.check(160_001, 0), Err(Distrust::Expired));
    assert_eq!(term.check(160_001, 150_000), Ok(()), "prolonged by a sliding TTL");
}

#[test]
fn message_bound_to_stream_kind_and_predecessor() {
    let signed = signatures(&["a"]);
    let (first, code) = signed.sign_text("s", "batch", None, "{1}".to_owned());
    let (second, _) = signed.sign_text("s", "batch", code, "{2}".to_owned());
    let verify = |signed: &Signatures, name: &str, kind: &str, text: &str| {
        let (signature, text) = split_text(text);
        signed.verify_text(name, kind, signature, text.as_bytes())
    };
    let read = verify(&signed, "s", "batch", &first).expect("verified").expect("signed");
    assert_eq!((Some(read.code), read.after), (code, None));
    let read = verify(&signed, "s", "batch", &second).expect("verified").expect("signed");
    assert_eq!(read.after, code);
    for (name, kind, text) in [
        ("t", "batch", first.clone()),
        ("s", "evict", first.clone()),
        ("s", "batch", first.replace("{1}", "{3}")),
        ("s", "batch", second.rsplit_once('.').expect("parts").0.to_owned() + ".- {2}"),
        ("s", "batch", "00.11.- {1}".to_owned()),
        ("s", "batch", "\u{e9} {1}".to_owned()),
    ] {
        let refused = verify(&signed, name, kind, &text).expect_err("refused");
        assert_eq!(refused, MacError::Mismatch.into(), "{text}");
    }
    assert_eq!(verify(&signed, "s", "batch", "{1}"), Err(Distrust::Unsigned));
    assert_eq!(verify(&Signatures::default(), "s", "batch", &first), Ok(None));
}

proptest! {
    #[test]
    fn altered_entry_refused(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let signed = signatures(&["a"]);
        let mut raw = entry(&signed, "1.2.3.4", 900);
        let stamp = b"tg4 1.2.3.4 900 ".len()..b"tg4 1.2.3.4 900 0".len();
        let at = at.index(raw.len());
        raw[at] ^= 1 << bit;
        let verdict = verdict(&signed, NAME, raw.clone());
        // The script writes the stamp, and raises τ.
        let raised = raw[12..15] > b"900"[..] && raw[12..15].iter().all(u8::is_ascii_digit);
        let is_free = stamp.contains(&at) && raw[at] != b' ' && raw[at] != b'\n';
        prop_assert!(verdict.is_err() || is_free || raised, "{at} {bit} {verdict:?}");
    }

    #[test]
    fn truncated_entry_refused(cut in any::<prop::sample::Index>()) {
        let signed = signatures(&["a"]);
        let mut raw = entry(&signed, "1.2.3.4", 900);
        raw.truncate(cut.index(raw.len()));
        prop_assert!(verdict(&signed, NAME, raw).is_err());
    }

    #[test]
    fn foreign_bytes_never_panic(
        line in "(tg4 )?[0-9a-f. -]{0,60}\n?", tail in any::<Vec<u8>>(), text in any::<String>(),
    ) {
        let signed = signatures(&["a"]);
        let mut raw = line.into_bytes();
        raw.extend(tail);
        prop_assert_eq!(verdict(&signed, NAME, raw).ok(), None);
        let (signature, rest) = split_text(&text);
        prop_assert!(signed.verify_text("s", "batch", signature, rest.as_bytes()).is_err());
    }
}
