//! `[source.NAME] events`: change events that somebody posts, in place of a log that is read.

use std::time::Duration;

use serde::Deserialize;

use super::SourceUrl;
use super::raw::{Secret, duration, identifier};

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Events {
    #[serde(rename = "from")]
    _from: From,
    secret: Secret,
    #[serde(default = "debezium")]
    slot: String,
    #[serde(default = "dbz_publication")]
    publication: String,
    #[serde(default = "quarter_second")]
    beat: String,
}

/// Who posts them.
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

/// The bounds of `beat`: below, the log is filled for nothing; above, the lock would be lost.
const BEATS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(5);

impl Events {
    /// `own_names`: whether the source names a slot or a publication of Tidegate's own.
    pub(super) fn check(
        self,
        url: &SourceUrl,
        own_names: bool,
    ) -> Result<super::SourceEvents, String> {
        if !matches!(url, SourceUrl::Postgres(_)) {
            return Err(
                "only a PostgreSQL source is followed by Debezium's events; leave them out, and \
                        it is followed by its own log"
                    .into(),
            );
        }
        if own_names {
            return Err(
                "the source's own slot and publication are not used then; name Debezium's in \
                        events.slot and events.publication"
                    .into(),
            );
        }
        identifier("slot", &self.slot)?;
        identifier("publication", &self.publication)?;
        let Secret(secret) = self.secret;
        let beat = duration("beat", &self.beat)?;
        if !BEATS.contains(&beat) {
            return Err(format!("beat = {:?}: use 50ms to 5s", self.beat));
        }
        Ok(super::SourceEvents {
            // Its text is not repeated.
            secret: secret.parse().map_err(|err| format!("secret: it {err}"))?,
            slot: self.slot,
            publication: self.publication,
            beat,
        })
    }
}
