//! Pages whose tags the logs of several sources raise.
//!
//! The engine of the main source stores every page. The engines of the other sources store its witnesses
//! ([`coherence::joint`]), from the same load, under the same key and tags.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use cache::{Chance, Content, Engine, Entry, ForeignProof, Loaded, ThreadChance, WitnessFill};
use coherence::{CausalToken, Epoch, JointProof, LoadId, Lsn, Mono, joint};
use contract::{Class, Key, PageEvidence, Tag};

use super::stored_head::{self, JointPage};

/// The positions of the sources' logs before a load; none where it does not count, or is not known.
pub(crate) type Positions = Vec<Option<(Epoch, Lsn)>>;

/// The logs of the sources that raise tags of pages, in the order of the rules.
pub(crate) struct OtherLogs {
    /// The rules about the tags of all sources.
    digest: u64,
    evidence: PageEvidence,
    logs: Vec<SourceLog>,
    pool: Class,
    /// The time that a page may be served after its TTL.
    grace: Duration,
}

struct SourceLog {
    name: String,
    /// `None`: the main source, whose engine stores the pages.
    engine: Option<Engine>,
    /// The rules about its own tags.
    evidence: PageEvidence,
}

impl fmt::Debug for OtherLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.logs.iter().map(|log| &log.name);
        f.debug_list().entries(names).finish()
    }
}

impl OtherLogs {
    /// Creates the proof of pages with this evidence; `None`: the log of the main source alone raises their tags.
    /// `engines`: those of the other sources by name. `pool`: the pool of the pages; `grace`: the time that one may be
    /// served after its TTL.
    pub(crate) fn new(
        evidence: &PageEvidence,
        engines: &BTreeMap<String, Engine>,
        pool: Class,
        grace: Duration,
    ) -> Option<Self> {
        let logs = evidence.sources().iter().map(|name| SourceLog {
            name: name.clone(),
            engine: engines.get(name).cloned(),
            evidence: evidence.of_source(name),
        });
        let logs: Vec<SourceLog> = logs.collect();
        let has_others = logs.iter().any(|log| log.engine.is_some());
        let (digest, evidence) = (evidence.digest(), evidence.clone());
        has_others.then_some(Self { digest, evidence, logs, pool, grace })
    }

    /// Returns the positions of the other logs, for a load that begins now.
    pub(crate) fn positions(&self) -> Positions {
        let position = |log: &SourceLog| log.engine.as_ref()?.load_position();
        self.logs.iter().map(position).collect()
    }

    /// Returns the logs that a page with these tags depends on, if there are others than the main one's.
    ///
    /// # Errors
    /// The position of one of them was not known before the load, so that its log proves nothing.
    pub(crate) fn joint(
        &self,
        tags: &[Tag],
        positions: &Positions,
    ) -> Result<Option<JointPage>, Unknown> {
        let (mut sources, mut has_others) = (0, false);
        for (at, raises) in self.evidence.raised_by(tags).into_iter().enumerate() {
            if !raises {
                continue;
            }
            sources |= 1 << at;
            if self.logs[at].engine.is_some() {
                has_others = true;
                if positions.get(at).copied().flatten().is_none() {
                    return Err(Unknown);
                }
            }
        }
        Ok(has_others.then(|| JointPage { load: LoadId(ThreadChance.draw()), sources }))
    }

    /// Stores the witnesses of a page that was loaded after `positions` were read.
    pub(crate) async fn store(&self, key: &Key, loaded: &Loaded, positions: &Positions) {
        let Content::Present(value) = &loaded.content else { return };
        let Some((_, page)) = stored_head::decode_joint(&value.head) else { return };
        let ttl = loaded.ttl.unwrap_or_default();
        for (at, log) in self.others(page) {
            if let (Some(engine), Some(position)) = (&log.engine, positions[at]) {
                let witness = self.witness(log, key, page.load, &loaded.tags);
                let ttl = ttl.saturating_add(self.grace);
                engine.store_witness(&WitnessFill { position, ttl, ..witness }).await;
            }
        }
    }

    /// The witness of a load in one log, without position and TTL.
    fn witness(&self, log: &SourceLog, key: &Key, load: LoadId, tags: &[Tag]) -> WitnessFill {
        WitnessFill {
            key: key.clone(),
            load,
            mappings: log.evidence.mappings(tags),
            tags: tags.to_vec(),
            position: (Epoch::default(), Lsn::ZERO),
            ttl: Duration::ZERO,
            pool: self.pool,
        }
    }

    /// The other logs that a page depends on, with their positions in the list.
    fn others(&self, page: JointPage) -> impl Iterator<Item = (usize, &SourceLog)> {
        let logs = self.logs.iter().enumerate();
        logs.filter(move |(at, log)| page.depends_on(*at) && log.engine.is_some())
    }

    /// The page, if it depends on other logs by these rules. Under other rules its age alone proves it.
    fn page(&self, entry: &Entry) -> Option<JointPage> {
        let Content::Present(value) = &entry.content else { return None };
        let (metadata, page) = stored_head::decode_joint(&value.head)?;
        (metadata.proven_by == Some(self.digest)).then_some(page)
    }

    /// Whether a page that the logs prove includes the writes of tokens for other logs. `tokens`: with the names of the
    /// sources.
    pub(crate) fn has_writes(
        &self,
        key: &Key,
        entry: &Entry,
        tokens: &[(String, CausalToken)],
    ) -> bool {
        // By its tags, another page shows nothing of these databases.
        let Some(page) = self.page(entry) else { return true };
        let has_reached = |(_, log): (usize, &SourceLog)| {
            let mut own = tokens.iter().filter(|(name, _)| *name == log.name);
            own.all(|(_, token)| log.engine.as_ref().is_some_and(|own| own.has_reached(*token)))
        };
        // In this order: a witness that stands in a tier which has reached the token includes the write.
        self.others(page).all(has_reached) && self.prove(key, entry, None) != JointProof::Fallen
    }
}

/// The position of a log is not known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Unknown;

#[async_trait]
impl ForeignProof for OtherLogs {
    fn concerns(&self, entry: &Entry) -> bool {
        self.page(entry).is_some()
    }

    fn prove(&self, key: &Key, entry: &Entry, own: Option<Mono>) -> JointProof {
        let Some(page) = self.page(entry) else { return JointProof::Stands(own) };
        let is_main = |(at, log): (usize, &SourceLog)| log.engine.is_none() && page.depends_on(at);
        let depends_on_own = self.logs.iter().enumerate().any(is_main);
        let witnesses = self.others(page).map(|(_, log)| log.engine.as_ref()?.witness(key));
        joint::prove(page.load, depends_on_own.then_some(own), witnesses)
    }

    async fn fetch(&self, key: &Key, entry: &Entry) -> bool {
        let Some(page) = self.page(entry) else { return true };
        for (_, log) in self.others(page) {
            let Some(engine) = &log.engine else { continue };
            if !engine.find_witness(&self.witness(log, key, page.load, &entry.tags)).await {
                return false;
            }
        }
        true
    }
}
