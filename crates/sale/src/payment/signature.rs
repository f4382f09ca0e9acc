//! Signatures of events: `t=SECONDS,v1=HEX` over `SECONDS.BODY`, as Stripe makes them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::port::WebhookRefusal;

/// The largest difference between a signature's time and this machine's, in seconds.
const TOLERANCE_SECONDS: u64 = 300;

/// Checks a signature.
///
/// # Errors
/// It is missing, does not fit, or is too old.
pub(super) fn check(
    secret: &str,
    header: Option<&str>,
    body: &[u8],
    now_seconds: u64,
) -> Result<(), WebhookRefusal> {
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.ok_or(WebhookRefusal::Signature)?.split(',') {
        match part.trim().split_once('=') {
            Some(("t", text)) => time = Some(text),
            Some(("v1", hex)) => signatures.extend(decode_hex(hex)),
            _ => {}
        }
    }
    let time = time.ok_or(WebhookRefusal::Signature)?;
    let seconds: u64 = time.parse().map_err(|_| WebhookRefusal::Signature)?;
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return Err(WebhookRefusal::Signature);
    };
    let mac = mac.chain_update(time.as_bytes()).chain_update(b".").chain_update(body);
    if !signatures.iter().any(|given| mac.clone().verify_slice(given).is_ok()) {
        return Err(WebhookRefusal::Signature);
    }
    if seconds.abs_diff(now_seconds) > TOLERANCE_SECONDS {
        return Err(WebhookRefusal::Time);
    }
    Ok(())
}

/// Signs a body: the header that [`check`] accepts.
pub(crate) fn sign(secret: &str, body: &[u8], now_seconds: u64) -> Option<String> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    let time = now_seconds.to_string();
    let mac = mac.chain_update(time.as_bytes()).chain_update(b".").chain_update(body);
    let bytes = mac.finalize().into_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("t={time},v1={hex}"))
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_covers_time_and_body() {
        let header = sign("whsec_1", b"{}", 1_000).expect("signed");
        let check = |secret, header, body, now| check(secret, header, body, now);
        assert_eq!(check("whsec_1", Some(&*header), b"{}", 1_300), Ok(()));
        let two = format!("{header},v1=00ff,v0=x");
        assert_eq!(check("whsec_1", Some(&*two), b"{}", 700), Ok(()));
        assert_eq!(check("whsec_1", Some(&*header), b"{}", 1_301), Err(WebhookRefusal::Time));
        let later = header.replace("t=1000", "t=2000");
        for (secret, header, body) in [
            ("whsec_2", Some(&*header), &b"{}"[..]),
            ("whsec_1", Some(&*header), b"{} "),
            ("whsec_1", Some(&*later), b"{}"),
            ("whsec_1", None, b"{}"),
            ("whsec_1", Some(""), b"{}"),
            ("whsec_1", Some("t=1000,v1="), b"{}"),
            ("whsec_1", Some("t=1000,v1=zz"), b"{}"),
            ("whsec_1", Some("t=1000,v1=é"), b"{}"),
            ("whsec_1", Some("t=-1,v1=00"), b"{}"),
        ] {
            assert_eq!(check(secret, header, body, 1_000), Err(WebhookRefusal::Signature));
        }
    }
}
