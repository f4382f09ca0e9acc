//! One certificate, from the order to the file.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde::{Deserialize, Serialize};
use tls::Validity;

use crate::account;
use crate::authority::Authority;
use crate::challenges::{publish_handshake, publish_token, withdraw_all};
use crate::failure::{Failure, UNKNOWN_ACCOUNT, is_refusal};
use crate::options::ChallengeKind;
use crate::schedule::FailureKind;
use crate::storage::Storage;

/// The time that the authority has for its checks, and for a signature. What takes longer is continued later.
const POLLS: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(300))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));

/// The tolerated difference to the authority's clock, in seconds.
const CLOCK_DIFFERENCE_S: u64 = 300;

/// An order that the authority has, and the key of its certificate: a restart continues it.
#[derive(Deserialize, Serialize)]
struct PendingIssue {
    url: String,
    key: String,
}

impl Authority {
    /// Issues a certificate for `domain` and writes it. `replaces`: the present one, at an authority that knows it.
    pub(crate) async fn issue(
        &self,
        domain: &str,
        replaces: Option<CertificateIdentifier<'static>>,
        now_s: u64,
    ) -> Result<Validity, Failure> {
        // Without a folder that can be written, the authority would count a certificate that is lost.
        self.blocking(|storage| {
            withdraw_all(storage)?;
            storage.write("probe", b"")?;
            storage.remove("probe")
        })
        .await?;
        let account = account::open(self).await?;
        let issued = self.issue_by(&account, domain, replaces.clone(), now_s).await;
        match issued {
            Err(failure) if failure.code == UNKNOWN_ACCOUNT => {
                // A staging environment forgets its accounts.
                self.blocking(|storage| storage.remove(account::FILE)).await?;
                let account = account::open(self).await?;
                self.issue_by(&account, domain, replaces, now_s).await
            }
            issued => issued,
        }
    }

    async fn issue_by(
        &self,
        account: &Account,
        domain: &str,
        replaces: Option<CertificateIdentifier<'static>>,
        now_s: u64,
    ) -> Result<Validity, Failure> {
        let (mut order, key) = self.begin_or_continue(account, domain, replaces).await?;
        let issued = self.complete(&mut order, &key, domain, now_s).await;
        let is_over = issued.as_ref().map_or_else(
            // The authority may still sign after an error of its own.
            |failure| failure.kind == FailureKind::Refused,
            |_| true,
        );
        if is_over {
            let name = pending_file(domain);
            self.blocking(move |storage| storage.remove(&name)).await?;
        }
        issued
    }

    /// Continues the order that a node has begun, if the authority still has it, or begins one.
    async fn begin_or_continue(
        &self,
        account: &Account,
        domain: &str,
        replaces: Option<CertificateIdentifier<'static>>,
    ) -> Result<(Order, KeyPair), Failure> {
        let name = pending_file(domain);
        let read = name.clone();
        let pending = self.blocking(move |storage| storage.read(&read)).await?;
        let pending = pending.and_then(|json| serde_json::from_slice::<PendingIssue>(&json).ok());
        let pending = pending.and_then(|it| Some((it.url, KeyPair::from_pem(&it.key).ok()?)));
        if let Some((url, key)) = pending {
            match account.order(url).await {
                Ok(mut order) => {
                    if order.state().status != OrderStatus::Invalid {
                        return Ok((order, key));
                    }
                }
                Err(err) if is_refusal(&err) => {
                    tracing::debug!(domain, error = %err, "the authority does not know the order");
                }
                Err(err) => return Err(Failure::of(err)),
            }
        }
        let order = begin(account, domain, replaces).await.map_err(Failure::of)?;
        let key = KeyPair::generate().map_err(|err| Failure::storage(&err))?;
        let pending = PendingIssue { url: order.url().to_owned(), key: key.serialize_pem() };
        let json = serde_json::to_vec(&pending).map_err(|err| Failure::storage(&err))?;
        self.blocking(move |storage| storage.write(&name, &json)).await?;
        Ok((order, key))
    }

    async fn complete(
        &self,
        order: &mut Order,
        key: &KeyPair,
        domain: &str,
        now_s: u64,
    ) -> Result<Validity, Failure> {
        if order.state().status == OrderStatus::Pending {
            let mut published = Vec::new();
            let mut checked = self.answer_checks(order, domain, &mut published).await;
            if checked.is_ok() {
                checked = wait_until_ready(order).await;
            }
            self.blocking(move |storage| {
                published.iter().try_for_each(|name| storage.remove(name))
            })
            .await?;
            checked?;
        }
        if order.state().status == OrderStatus::Ready {
            let request = signing_request(domain, key).map_err(|err| Failure::storage(&err))?;
            order.finalize_csr(&request).await.map_err(Failure::of)?;
        }
        let chain = order.poll_certificate(&POLLS).await.map_err(Failure::of)?;
        let content = format!("{}\n{}", chain.trim_end(), key.serialize_pem()).into_bytes();
        let name = certificate_file(domain);
        let validity = judge(&self.storage, &name, &content, domain, now_s)?;
        self.blocking(move |storage| storage.write(&name, &content)).await?;
        Ok(validity)
    }

    /// Publishes the answers to the authority's checks, and asks it to make them.
    async fn answer_checks(
        &self,
        order: &mut Order,
        domain: &str,
        published: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(Failure::of)?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status => {
                    let problem = format!("the authority's check of {domain} is {status:?}");
                    return Err(Failure::refused(
                        "authorization",
                        problem,
                        "none: it is tried again",
                    ));
                }
            }
            let kind = self.options.challenge;
            let (offered, name) = match kind {
                ChallengeKind::TlsAlpn => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
                ChallengeKind::Http => (ChallengeType::Http01, "http-01"),
            };
            let mut challenge = authorization.challenge(offered).ok_or_else(|| {
                let problem = format!("the authority does not offer the check {name} for {domain}");
                Failure::refused("challenge", problem, "set another `challenge`")
            })?;
            let answer = challenge.key_authorization();
            let (host, token) = (domain.to_owned(), challenge.token.clone());
            let publish = move |storage: &Storage| match kind {
                ChallengeKind::TlsAlpn => {
                    publish_handshake(storage, &host, answer.digest().as_ref())
                }
                ChallengeKind::Http => publish_token(storage, &token, answer.as_str()),
            };
            published.push(self.blocking(publish).await?);
            challenge.set_ready().await.map_err(Failure::of)?;
        }
        Ok(())
    }
}

/// Begins an order. An authority that refuses one in place of the present certificate, which another account may have
/// ordered or another order replaced already, gets one without that.
async fn begin(
    account: &Account,
    domain: &str,
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<Order, Error> {
    let identifiers = [Identifier::Dns(domain.to_owned())];
    let wanted = || NewOrder::new(&identifiers);
    if let Some(replaces) = replaces {
        match account.new_order(&wanted().replaces(replaces)).await {
            Err(Error::Api(problem))
                if Failure::of_problem(&problem).kind == FailureKind::Limited =>
            {
                return Err(problem.into());
            }
            Err(err) => {
                tracing::debug!(domain, error = %err, "no order in place of the certificate")
            }
            begun => return begun,
        }
    }
    account.new_order(&wanted()).await
}

async fn wait_until_ready(order: &mut Order) -> Result<(), Failure> {
    let polled = order.poll_ready(&POLLS).await;
    match polled {
        Ok(OrderStatus::Ready) => Ok(()),
        Ok(_) | Err(Error::Api(_)) => Err(refusal_of(order, polled).await),
        Err(err) => Err(Failure::of(err)),
    }
}

/// Finds the check that has failed: the order itself says only that one has.
async fn refusal_of(order: &mut Order, polled: Result<OrderStatus, Error>) -> Failure {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let mut errors = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = errors.next() {
            return Failure::of_problem(problem);
        }
    }
    match polled {
        Err(err) => Failure::of(err),
        Ok(status) => {
            let problem = format!("the authority's state of the order is {status:?}");
            Failure::refused("order", problem, "see the authority's messages")
        }
    }
}

fn signing_request(domain: &str, key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    let mut params = CertificateParams::new([domain.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// Decides whether a certificate can replace the present one.
fn judge(
    storage: &Storage,
    name: &str,
    content: &[u8],
    domain: &str,
    now_s: u64,
) -> Result<Validity, Failure> {
    let refused = |problem: String| {
        let remedy =
            "ask the authority: the last certificate is served, and another one is ordered later";
        Failure::refused("unusable-certificate", problem, remedy)
    };
    let certificate = tls::check_pair(&storage.path(name), content)
        .map_err(|err| refused(format!("the authority's certificate can't be used: {err}")))?;
    if !certificate.dns.iter().any(|host| host.eq_ignore_ascii_case(domain)) {
        let label = certificate.label();
        return Err(refused(format!(
            "the authority's certificate is for {label}, not for {domain}"
        )));
    }
    let Validity { from_s, until_s } = certificate.validity;
    if until_s <= now_s {
        return Err(refused("the authority's certificate has expired".to_owned()));
    }
    if from_s > now_s.saturating_add(CLOCK_DIFFERENCE_S) {
        return Err(refused("the authority's certificate is not valid yet".to_owned()));
    }
    Ok(certificate.validity)
}

/// The name of the file with the certificate and the key of a domain.
pub(crate) fn certificate_file(domain: &str) -> String {
    format!("{domain}.pem")
}

fn pending_file(domain: &str) -> String {
    format!("{domain}.pending")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_usable_certificate_accepted() {
        let made = harness::Certificates::make().expect("certificates");
        let storage = Storage::new(std::path::Path::new("acme"), "https://ca.example/");
        let now_s = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        let judge_at = |certificate: &str, key: &str, domain: &str, now_s| {
            let pem = |name: &str| made.pem(name).expect("it is there");
            let content = [pem(certificate), pem(key)].concat();
            judge(&storage, "a.pem", &content, domain, now_s).map_err(|failure| failure.problem)
        };
        let judged = |certificate, key, domain| judge_at(certificate, key, domain, now_s);
        assert!(judged("server.pem", "server.key", "localhost").is_ok());
        for (result, problem) in [
            (judged("server.pem", "client.key", "localhost"), "is not the key of"),
            (
                judged("other-name.pem", "other-name.key", "localhost"),
                "for db.example.com, not for",
            ),
            (judged("expired.pem", "expired.key", "localhost"), "has expired"),
            (judge_at("server.pem", "server.key", "localhost", now_s - 3_600), "not valid yet"),
            (judged("server.key", "server.key", "localhost"), "has no certificate"),
        ] {
            let err = result.expect_err(problem);
            assert!(err.contains(problem), "{problem}: {err}");
        }
    }

    #[test]
    fn request_names_the_domain() {
        let key = KeyPair::generate().expect("a key");
        let request = signing_request("www.shop.example", &key).expect("made");
        let name = b"www.shop.example";
        assert!(request.windows(name.len()).any(|part| part == name));
    }
}
