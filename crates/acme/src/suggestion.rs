//! The times that an authority suggests for renewals (RFC 9773).

use instant_acme::{CertificateIdentifier, Error};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, Der};
use tls::RenewalIdentifier;

use crate::account;
use crate::authority::Authority;
use crate::schedule::SuggestedWindow;

/// The shortest and the longest time between two questions, in seconds.
const PAUSES_S: (u64, u64) = (3_600, 86_400);

/// The suggestion for one certificate, as of the last question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suggestion {
    /// The content of the certificate's file.
    of: Vec<u8>,
    pub(crate) window: Option<SuggestedWindow>,
    next_s: u64,
    /// Whether the authority makes suggestions, and so knows the certificates that others replace.
    is_offered: bool,
}

impl Suggestion {
    /// Whether there is a question to ask about the certificate with this content at `now_s`.
    pub(crate) fn is_due(&self, content: &[u8], now_s: u64) -> bool {
        now_s >= self.next_s || self.of != content
    }

    /// Asks the authority. Without an answer, the last one about the same certificate stays.
    pub(crate) async fn ask(&mut self, authority: &Authority, content: &[u8], now_s: u64) {
        let last = (self.of == content).then_some(self.window).flatten();
        let next_s = now_s.saturating_add(PAUSES_S.0);
        *self = Self { of: content.to_vec(), window: last, next_s, is_offered: self.is_offered };
        let Some(identifier) = identifier_of(content) else { return };
        let Ok(Some(account)) = account::stored(authority).await else { return };
        match account.renewal_info(&identifier).await {
            Ok((info, pause)) => {
                let second =
                    |time: time::OffsetDateTime| time.unix_timestamp().try_into().unwrap_or(0);
                let window = info.suggested_window;
                let (start_s, end_s) = (second(window.start), second(window.end));
                self.window = Some(SuggestedWindow { start_s, end_s });
                self.next_s = now_s.saturating_add(pause.as_secs().clamp(PAUSES_S.0, PAUSES_S.1));
                self.is_offered = true;
            }
            Err(Error::Unsupported(_)) => {
                (self.window, self.is_offered) = (None, false);
                self.next_s = now_s.saturating_add(PAUSES_S.1);
            }
            Err(err) => tracing::debug!(error = %err, "no suggested time of renewal"),
        }
    }

    /// Returns the identifier of the certificate that an order replaces, for an authority that knows it.
    pub(crate) fn replaced(&self) -> Option<CertificateIdentifier<'static>> {
        if self.is_offered { identifier_of(&self.of) } else { None }
    }
}

fn identifier_of(content: &[u8]) -> Option<CertificateIdentifier<'static>> {
    let der = CertificateDer::from_pem_slice(content).ok()?;
    let RenewalIdentifier { authority_key, serial } = RenewalIdentifier::parse(&der)?;
    let identifier = CertificateIdentifier::new(Der::from(authority_key), Der::from(serial));
    Some(identifier.into_owned())
}
