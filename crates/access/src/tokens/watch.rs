//! The tokens of a running node: read again all the time, so that a revoked one is refused within a second.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use coherence::{Clock, Mono};
use parking_lot::RwLock;

use super::file::{TokenFile, TokenFileError};
use super::list::TokenList;
use super::secret::AccessToken;
use crate::caller::Caller;
use crate::metrics::Metrics;
use crate::refusal::Refusal;

/// The interval of reading the file. A revoked token is refused after at most this time and the read.
const READ_INTERVAL: Duration = Duration::from_millis(250);

/// The time limit of a read; a network file system may hang.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for which the list decides after it was read. It covers a file that is copied in place and a
/// typing error that is noticed at once; after it no token is accepted, because any may have been revoked.
const UNREADABLE_GRACE: Duration = Duration::from_secs(30);

/// The tokens as a running node knows them.
#[derive(Debug)]
pub struct TokenWatch {
    file: TokenFile,
    state: RwLock<WatchState>,
    metrics: Metrics,
}

#[derive(Debug)]
struct WatchState {
    /// The text of the last valid file.
    text: String,
    list: Arc<TokenList>,
    /// The time at which the file was read and valid.
    read_at: Mono,
    /// Why it could not be read since.
    failure: Option<String>,
}

impl WatchState {
    /// Returns the list that decides at `now`; `None`: it is too old.
    fn list(&self, now: Mono) -> Option<&Arc<TokenList>> {
        (now.since(self.read_at) < UNREADABLE_GRACE).then_some(&self.list)
    }
}

impl TokenWatch {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// [`TokenFileError`]: a node does not start without a valid file.
    pub fn open(
        file: TokenFile,
        metrics: Metrics,
        clock: &dyn Clock,
    ) -> Result<Self, TokenFileError> {
        let text = file.text()?;
        let list = Arc::new(file.parse(&text)?);
        if list.is_empty() {
            tracing::warn!(
                file = %file.path().display(),
                "there are no access tokens, so every request is refused; make one with `tidegate token create`"
            );
        }
        let state = WatchState { text, list, read_at: clock.mono(), failure: None };
        Ok(Self { file, state: RwLock::new(state), metrics })
    }

    /// Returns the holder of a token.
    ///
    /// # Errors
    /// [`Refusal`]
    pub(crate) fn holder(
        &self,
        token: &AccessToken,
        from: IpAddr,
        clock: &dyn Clock,
    ) -> Result<Caller, Refusal> {
        let list = self.state.read().list(clock.mono()).cloned();
        list.ok_or(Refusal::TokensUnreadable)?.holder(token, from, clock.wall_ms() / 1_000)
    }

    /// Reads the file again and again; never ends. `report` gets the state for `/readyz`: whether the file is
    /// valid, and a text.
    pub async fn run(self: Arc<Self>, clock: Arc<dyn Clock>, report: impl Fn(bool, String)) {
        loop {
            let (ok, detail) = self.read_again(&*clock).await;
            report(ok, detail);
            tokio::time::sleep(READ_INTERVAL).await;
        }
    }

    async fn read_again(&self, clock: &dyn Clock) -> (bool, String) {
        let file = self.file.clone();
        // The whole text is compared: neither a time stamp nor a size shows every change.
        let read = tokio::task::spawn_blocking(move || file.text());
        let text = match tokio::time::timeout(READ_TIMEOUT, read).await {
            Ok(Ok(text)) => text.map_err(|err| err.to_string()),
            Ok(Err(err)) => Err(err.to_string()),
            Err(_) => {
                Err(format!("{}: not read within {READ_TIMEOUT:?}", self.file.path().display()))
            }
        };
        self.take(text, clock.mono())
    }

    /// Takes the result of a read.
    fn take(&self, text: Result<String, String>, now: Mono) -> (bool, String) {
        let mut state = self.state.write();
        let parsed = text.and_then(|text| match text == state.text {
            true => Ok(None),
            false => match self.file.parse(&text) {
                Ok(list) => Ok(Some((text, list))),
                Err(err) => Err(err.to_string()),
            },
        });
        match parsed {
            Ok(changed) => {
                if let Some((text, list)) = changed {
                    tracing::info!(tokens = list.iter().count(), "access tokens read again");
                    (state.text, state.list) = (text, Arc::new(list));
                }
                (state.read_at, state.failure) = (now, None);
                self.metrics.tokens_unreadable.set(0);
                (true, format!("{} tokens", state.list.iter().count()))
            }
            Err(reason) => {
                if state.failure.as_ref() != Some(&reason) {
                    tracing::error!(
                        reason,
                        "access tokens can't be read; the list is valid for {UNREADABLE_GRACE:?} after its last read"
                    );
                }
                state.failure = Some(reason.clone());
                self.metrics.tokens_unreadable.set(1);
                (false, reason)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use parking_lot::Mutex;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::rights::{Reads, Rights, Role};
    use crate::tokens::list::NewToken;

    #[derive(Default)]
    struct ManualClock(Mutex<Duration>);

    impl ManualClock {
        fn advance(&self, by: Duration) {
            *self.0.lock() += by;
        }
    }

    impl Clock for ManualClock {
        fn mono(&self) -> Mono {
            Mono::default() + *self.0.lock()
        }

        fn wall_ms(&self) -> u64 {
            u64::try_from(self.0.lock().as_millis()).expect("small")
        }
    }

    #[test]
    fn list_valid_while_it_was_read_lately() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = TokenFile::new(folder.path().join("tokens.toml"));
        let rights = Rights { role: Some(Role::Viewer), reads: Reads::of_names([]) };
        let new = NewToken { name: "a".to_owned(), rights, lifetime: None };
        let token =
            file.update::<_, TokenFileError>(|list| list.add(new, 0), |_| Ok(())).expect("added");
        let clock = ManualClock::default();
        let metrics = Metrics::new(&mut Registry::default());
        let watch = TokenWatch::open(file.clone(), metrics, &clock).expect("valid");
        let holder = || watch.holder(&token, Ipv4Addr::LOCALHOST.into(), &clock).map(drop);
        let broken = || watch.take(Err("gone".to_owned()), clock.mono()).0;

        assert_eq!(holder(), Ok(()));
        clock.advance(UNREADABLE_GRACE - Duration::from_secs(1));
        assert!(!broken());
        assert_eq!(holder(), Ok(()), "within the grace");
        clock.advance(Duration::from_secs(1));
        assert!(!broken());
        assert_eq!(holder(), Err(Refusal::TokensUnreadable));
        let text = file.text().expect("readable");
        assert!(watch.take(Ok(text), clock.mono()).0);
        assert_eq!(holder(), Ok(()), "readable again");
        assert!(!watch.take(Ok("[[token]".to_owned()), clock.mono()).0, "malformed");
        assert_eq!(holder(), Ok(()));
        assert!(watch.take(Ok(String::new()), clock.mono()).0);
        assert_eq!(holder(), Err(Refusal::UnknownToken), "revoked");
    }
}
