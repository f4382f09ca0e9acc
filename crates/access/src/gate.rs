//! The checks that a request passes before anything of it is read beyond its head.

use std::sync::Arc;
use std::time::Duration;

use coherence::{Clock, Mono};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use parking_lot::Mutex;

use crate::caller::Caller;
use crate::certificates::Certificates;
use crate::hosts::Hosts;
use crate::metrics::{Metrics, RefusalLabels};
use crate::peer::Peer;
use crate::refusal::Refusal;
use crate::tokens::{AccessToken, TokenWatch};

/// The shortest time between two warnings: a client that repeats a refused request must not fill the log.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// A private listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Listener {
    /// The admin API.
    Admin,
    /// The data API.
    Data,
    /// The API of the sale.
    Sale,
}

impl Listener {
    fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Data => "data",
            Self::Sale => "sale",
        }
    }
}

/// The access rules of a node. Clones share all state.
#[derive(Clone)]
pub struct Gate {
    hosts: Arc<Hosts>,
    /// `None`: no tokens are accepted.
    tokens: Option<Arc<TokenWatch>>,
    /// `None`: no client certificates are accepted. With neither, all senders are; the configuration allows that on
    /// loopback addresses only.
    certificates: Option<Arc<Certificates>>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    last_warning: Arc<Mutex<Option<Mono>>>,
}

impl Gate {
    /// Creates the rules. Without `tokens` and `certificates` every sender may do everything.
    #[must_use]
    pub fn new(
        hosts: Hosts,
        tokens: Option<Arc<TokenWatch>>,
        certificates: Option<Certificates>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let certificates = certificates.map(Arc::new);
        let (hosts, last_warning) = (Arc::new(hosts), Arc::default());
        Self { hosts, tokens, certificates, clock, metrics, last_warning }
    }

    /// Checks the host that a request names and the site of the page that sends it.
    ///
    /// # Errors
    /// [`Refusal`], which is counted.
    pub fn check_host(&self, listener: Listener, request: &Parts) -> Result<(), Refusal> {
        let checked = self.hosts.check(request, self.knows_senders());
        checked.inspect_err(|refusal| self.refused(listener, refusal))
    }

    /// Returns the sender of a request.
    ///
    /// # Errors
    /// [`Refusal`], which is counted.
    pub fn authenticate(
        &self,
        listener: Listener,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Caller, Refusal> {
        let caller = self.caller(headers, peer);
        caller.inspect_err(|refusal| self.refused(listener, refusal))
    }

    /// Returns the sender of a request that is answered in any case, with less for an unknown one. Counts no
    /// refusal.
    #[must_use]
    pub fn recognise(&self, request: &Parts, peer: &Peer) -> Option<Caller> {
        self.hosts.check(request, self.knows_senders()).ok()?;
        self.caller(&request.headers, peer).ok()
    }

    /// Whether senders need a token or a certificate, neither of which a page of another site has: the name of such
    /// a page is in no certificate of this listener.
    fn knows_senders(&self) -> bool {
        self.tokens.is_some() || self.certificates.is_some()
    }

    /// Counts a refused request. A sender with a token of this node is also logged, once a second: its owner
    /// will ask why.
    pub fn refused(&self, listener: Listener, refusal: &Refusal) {
        let (listener, reason) = (listener.as_str(), refusal.reason());
        self.metrics.refused.get_or_create(&RefusalLabels { listener, reason }).inc();
        match refusal {
            Refusal::Role { .. }
            | Refusal::Contract { .. }
            | Refusal::ExpiredToken(_)
            | Refusal::ExpiredCertificate(_)
            | Refusal::UnknownCertificate(_)
                if self.may_warn() =>
            {
                tracing::warn!(listener, %refusal, "request refused");
            }
            _ => tracing::debug!(listener, %refusal, "request refused"),
        }
    }

    fn may_warn(&self) -> bool {
        let now = self.clock.mono();
        let mut last = self.last_warning.lock();
        let may = last.is_none_or(|last| now.since(last) >= WARNING_INTERVAL);
        if may {
            *last = Some(now);
        }
        may
    }

    /// A sender that shows a token is judged by it; others by their certificate.
    fn caller(&self, headers: &HeaderMap, peer: &Peer) -> Result<Caller, Refusal> {
        let shows_token = headers.contains_key(AUTHORIZATION) || peer.certificate.is_none();
        let tokens = self.tokens.as_ref().filter(|_| shows_token || self.certificates.is_none());
        match (tokens, &self.certificates) {
            (Some(tokens), _) => tokens.holder(&bearer(headers)?, peer.address, &*self.clock),
            (None, Some(certificates)) => certificates.holder(peer, self.clock.wall_ms() / 1_000),
            (None, None) => Ok(Caller::anonymous(peer.address)),
        }
    }
}

/// Returns the bearer token of a request (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<AccessToken, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::NoToken)?;
    if values.next().is_some() {
        return Err(Refusal::MalformedToken("the request has several Authorization headers"));
    }
    const FORM: Refusal =
        Refusal::MalformedToken("the Authorization header is not of the form `Bearer TOKEN`");
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(FORM)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(FORM);
    }
    token.trim().parse().map_err(|_| Refusal::UnknownToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_token_parsed_strictly() {
        let token = AccessToken::generate().expect("randomness");
        let parse = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().expect("a value"));
            }
            bearer(&headers).map(|token| token.expose().to_owned())
        };
        let text = token.expose();
        assert_eq!(parse(&[&format!("Bearer {text}")]).as_deref(), Ok(text));
        assert_eq!(parse(&[&format!("bearer  {text} ")]).as_deref(), Ok(text));
        assert_eq!(parse(&[]), Err(Refusal::NoToken));
        for malformed in [text, "Basic abc", "Bearer", ""] {
            let refused = parse(&[malformed]);
            assert!(matches!(refused, Err(Refusal::MalformedToken(_))), "{malformed}: {refused:?}");
        }
        assert_eq!(parse(&["Bearer x"]), Err(Refusal::UnknownToken));
        let twice = format!("Bearer {text}");
        assert!(matches!(parse(&[&twice, &twice]), Err(Refusal::MalformedToken(_))));
    }
}
