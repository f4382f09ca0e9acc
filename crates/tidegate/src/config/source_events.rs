//! `[source.NAME] events`: posted change events, in place of a log that is read.

use std::ops::RangeInclusive;
use std::time::Duration;

use contract::config::TableReader;
use control::WebhookSecret;

use super::syntax::identifier;

pub(super) const KEYS: &[&str] = &["from", "secret", "slot", "publication", "beat"];

/// The range of `beat`: more often only fills the log, less often loses the lock.
const BEATS: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(5);

/// The names in the database that Debezium uses, and the secret of its events.
#[derive(Clone, Debug)]
pub(crate) struct SourceEvents {
    /// The secret that authenticates the sender.
    pub(crate) secret: WebhookSecret,
    /// Debezium's replication slot; PostgreSQL only.
    pub(crate) slot: String,
    /// Debezium's publication; PostgreSQL only.
    pub(crate) publication: String,
    /// The keys of the two that the configuration has.
    pub(super) names: Vec<&'static str>,
    /// The interval of the heartbeats that are written to the log and have to come back as events.
    pub(crate) beat: Duration,
}

impl SourceEvents {
    pub(super) fn read(table: &mut TableReader<'_>) -> Option<Self> {
        table.choice("from", &[("debezium", ())]);
        if !table.has("from") {
            table.problem("missing", "from", "is missing", "write from = \"debezium\"");
        }
        let names: Vec<_> =
            ["slot", "publication"].into_iter().filter(|key| table.has(key)).collect();
        let mut name = |key: &str, default: &str| {
            table.text_with(key, identifier).unwrap_or_else(|| default.to_owned())
        };
        let (slot, publication) =
            (name("slot", "debezium"), name("publication", "dbz_publication"));
        let beat = table.duration("beat", BEATS).unwrap_or(Duration::from_millis(250));
        let secret = table.required_text_with("secret", WebhookSecret::FORM, str::parse)?;
        Some(Self { secret, slot, publication, names, beat })
    }
}
