//! `[source.NAME] events`: posted change events, in place of a log that is read.

use std::time::Duration;

use serde::Deserialize;

use super::duration;
use super::identifier;
use super::secret::SecretText;
use super::url::SourceUrl;

/// The names in the database that Debezium uses, and the secret of its events.
#[derive(Clone, Debug)]
pub(crate) struct SourceEvents {
    /// The secret that authenticates the sender.
    pub(crate) secret: control::WebhookSecret,
    /// Debezium's replication slot.
    pub(crate) slot: String,
    /// Debezium's publication.
    pub(crate) publication: String,
    /// The interval of the heartbeats that are written to the log and have to come back as events.
    pub(crate) beat: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsSection {
    #[serde(rename = "from")]
    _from: From,
    secret: SecretText,
    #[serde(default = "debezium")]
    slot: String,
    #[serde(default = "dbz_publication")]
    publication: String,
    #[serde(default = "quarter_second")]
    beat: String,
}

/// The sender.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum From {
    Debezium,
}

fn debezium() -> String {
    "debezium".into()
}

fn dbz_publication() -> String {
    "dbz_publication".into()
}

fn quarter_second() -> String {
    "250ms".into()
}

/// The range of `beat`: more often only fills the log, less often loses the lock.
const BEATS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(5);

impl EventsSection {
    /// `own_names`: the source also names a slot or a publication of Tidegate's own.
    pub(super) fn check(self, url: &SourceUrl, own_names: bool) -> Result<SourceEvents, String> {
        if !matches!(url, SourceUrl::Postgres(_)) {
            return Err(
                "only a PostgreSQL source can be followed by Debezium's events; without them it \
                        is followed by its own log"
                    .into(),
            );
        }
        if own_names {
            return Err(
                "with events the source's own slot and publication are not used; name Debezium's \
                        in events.slot and events.publication"
                    .into(),
            );
        }
        identifier::check("slot", &self.slot)?;
        identifier::check("publication", &self.publication)?;
        let SecretText(secret) = self.secret;
        let beat = duration::parse("beat", &self.beat)?;
        if !BEATS.contains(&beat) {
            return Err(format!("beat = {:?}: use 50ms to 5s", self.beat));
        }
        Ok(SourceEvents {
            // The error does not repeat the secret.
            secret: secret.parse().map_err(|err| format!("secret: it {err}"))?,
            slot: self.slot,
            publication: self.publication,
            beat,
        })
    }
}
