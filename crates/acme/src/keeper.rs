//! Keeps the certificates of all domains.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use listen::Challenges;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tls::{Certificate, Validity};

use crate::authority::Authority;
use crate::challenges::FolderChallenges;
use crate::client::Transport;
use crate::failure::Failure;
use crate::issue::certificate_file;
use crate::metrics::AcmeMetrics;
use crate::options::AcmeOptions;
use crate::schedule::{Attempts, next_attempt_s, share_of};
use crate::status::DomainStatus;
use crate::storage::{FolderLock, Storage};
use crate::suggestion::Suggestion;

/// The interval at which the folder is read.
const INTERVAL: Duration = Duration::from_secs(1);

/// The seconds since 1970.
type NowS = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Keeps the certificates of all domains in a folder, and renews them.
pub struct CertificateKeeper {
    authority: Authority,
    metrics: AcmeMetrics,
    now_s: NowS,
}

/// A domain, as the folder has it.
struct DomainFiles {
    /// The content of the file with the certificate and its key.
    content: Option<Vec<u8>>,
    validity: Option<Validity>,
    attempts: Attempts,
}

impl CertificateKeeper {
    /// Creates a keeper. `now_s`: the seconds since 1970.
    #[must_use]
    pub fn new(
        options: AcmeOptions,
        transport: Arc<dyn Transport>,
        metrics: AcmeMetrics,
        now_s: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        let storage = Storage::new(&options.storage, &options.directory);
        let (options, asked_pause) = (Arc::new(options), Arc::default());
        let authority = Authority { options, storage, transport, asked_pause };
        Self { authority, metrics, now_s: Arc::new(now_s) }
    }

    /// Returns the files of the certificates, each with its key, which need not exist yet.
    #[must_use]
    pub fn certificate_files(options: &AcmeOptions) -> Vec<PathBuf> {
        let storage = Storage::new(&options.storage, &options.directory);
        options.domains.iter().map(|domain| storage.path(&certificate_file(domain))).collect()
    }

    /// Returns the answers to the authority's checks.
    #[must_use]
    pub fn challenges(options: &AcmeOptions) -> Arc<dyn Challenges> {
        let storage = Storage::new(&options.storage, &options.directory);
        Arc::new(FolderChallenges::new(storage))
    }

    /// Gets and renews the certificates; never ends. `report` gets the state for `/readyz`: whether all is well, and a
    /// text.
    pub async fn run(self, report: impl Fn(bool, String) + Send) {
        let mut suggestions: HashMap<String, Suggestion> = HashMap::new();
        loop {
            let mut states = Vec::new();
            for domain in &self.authority.options.domains {
                let suggestion = suggestions.entry(domain.clone()).or_default();
                // Boxed: it is large, and seldom there.
                states.push(Box::pin(self.attend(domain, suggestion)).await);
            }
            let is_ok = states.iter().all(|state| state.is_ok);
            let texts: Vec<String> = states.into_iter().map(|state| state.text).collect();
            report(is_ok, texts.join("; "));
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Looks after one domain. Returns its state.
    async fn attend(&self, domain: &str, suggestion: &mut Suggestion) -> DomainStatus {
        match self.try_attend(domain, suggestion).await {
            Ok(status) => status,
            Err(failure) => DomainStatus::unreadable(domain, &failure.to_last().text),
        }
    }

    async fn try_attend(
        &self,
        domain: &str,
        suggestion: &mut Suggestion,
    ) -> Result<DomainStatus, Failure> {
        let files = self.read(domain).await?;
        let now_s = (self.now_s)();
        if let Some(content) = &files.content
            && suggestion.is_due(content, now_s)
        {
            suggestion.ask(&self.authority, content, now_s).await;
        }
        if self.next_s(domain, &files, suggestion) > now_s {
            return Ok(self.status(domain, &files, suggestion));
        }
        let lock: Option<FolderLock> = self.authority.blocking(Storage::lock).await?;
        let Some(_lock) = lock else {
            return Ok(DomainStatus::busy(domain, files.validity, now_s));
        };
        // Another node may have had the lock until now.
        let files = self.read(domain).await?;
        if self.next_s(domain, &files, suggestion) > now_s {
            return Ok(self.status(domain, &files, suggestion));
        }
        self.issue(domain, &files, suggestion).await?;
        let files = self.read(domain).await?;
        Ok(self.status(domain, &files, suggestion))
    }

    /// Makes one attempt, and records its result.
    async fn issue(
        &self,
        domain: &str,
        files: &DomainFiles,
        suggestion: &Suggestion,
    ) -> Result<(), Failure> {
        let replaced = files.content.as_ref().and_then(|_| suggestion.replaced());
        *self.authority.asked_pause.lock() = None;
        let issued = self.authority.issue(domain, replaced, (self.now_s)()).await;
        let now_s = (self.now_s)();
        self.metrics.attempted(issued.is_ok());
        let attempts = match issued {
            Ok(validity) => {
                let days = validity.until_s.saturating_sub(now_s) / 86_400;
                tracing::info!(domain, days, "certificate issued");
                Attempts::succeeded(now_s, validity)
            }
            Err(failure) => {
                let last = failure.to_last();
                let is_known =
                    files.attempts.last.as_ref().is_some_and(|known| known.code == last.code);
                if is_known {
                    tracing::debug!(domain, error = last.text, "no certificate issued");
                } else {
                    tracing::warn!(
                        domain,
                        error = last.text,
                        "no certificate issued; the last one is served, and further attempts follow"
                    );
                }
                let asked = self.authority.asked_pause.lock().map(|pause| pause.as_secs());
                files.attempts.failed(now_s, last, asked)
            }
        };
        let json = serde_json::to_vec(&attempts).map_err(|err| Failure::storage(&err))?;
        let name = attempts_file(domain);
        self.authority.blocking(move |storage| storage.write(&name, &json)).await
    }

    fn next_s(&self, domain: &str, files: &DomainFiles, suggestion: &Suggestion) -> u64 {
        let share = share_of(domain, files.validity);
        next_attempt_s(files.validity, suggestion.window, share, &files.attempts)
    }

    fn status(&self, domain: &str, files: &DomainFiles, suggestion: &Suggestion) -> DomainStatus {
        let next_s = self.next_s(domain, files, suggestion);
        DomainStatus::of(domain, files.validity, &files.attempts, next_s, (self.now_s)())
    }

    async fn read(&self, domain: &str) -> Result<DomainFiles, Failure> {
        let (certificate, attempts) = (certificate_file(domain), attempts_file(domain));
        let path = self.authority.storage.path(&certificate);
        let both =
            move |storage: &Storage| Ok((storage.read(&certificate)?, storage.read(&attempts)?));
        let (content, attempts) = self.authority.blocking(both).await?;
        let validity = match &content {
            None => None,
            Some(content) => {
                let der = CertificateDer::from_pem_slice(content).ok();
                let certificate = der.and_then(|der| Certificate::parse(&der));
                let certificate = certificate.ok_or_else(|| {
                    let problem = format!("{} has no certificate that can be read", path.display());
                    Failure::refused("storage", problem, "remove the file: another one is issued")
                })?;
                Some(certificate.validity)
            }
        };
        // Attempts that can't be parsed are those of a later version: they begin again.
        let attempts = attempts.and_then(|json| serde_json::from_slice(&json).ok());
        Ok(DomainFiles { content, validity, attempts: attempts.unwrap_or_default() })
    }
}

fn attempts_file(domain: &str) -> String {
    format!("{domain}.attempts")
}
