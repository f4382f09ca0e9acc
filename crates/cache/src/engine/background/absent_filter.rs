//! Key filters: proofs of absence for ids that do not exist, without a load.
//!
//! A key scan reads the ids page by page, as background requests: through the origin's own gate, one at a
//! time, with pauses.

use std::sync::Arc;
use std::time::Duration;

use coherence::Lsn;
use coherence::key_filter::ScanId;
use contract::{AbsentFilter, Contract, Key};

use crate::engine::admission::OriginGate;
use crate::engine::error::ReadError;
use crate::engine::handle::Engine;
use crate::engine::metrics::filters::ScanResult;
use crate::engine::policy::Policy;
use crate::engine::tiers::TierStack;
use crate::local::{Bloom, ClockReading, FilterHealth, FilterId, ScanStep, max_keys};
use crate::origin::{KeyPage, KeyScan, Origin, OriginError, OriginErrorKind};

/// Ids per page.
const PAGE: usize = 1_000;

/// A filter has room for this multiple of the estimated number of rows, and for at least this number.
const ROOM: f64 = 1.25;
const ROOM_MIN: u64 = 1_000;

/// The pause after a page, as a multiple of the time that the page took.
const REST: u32 = 3;

/// The interval at which the state of a scan or filter is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The number of tries of one request to an origin that is busy or unavailable.
const TRIES: u32 = 40;

/// The pause after the first failed scan, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The failure of a scan.
enum ScanFailure {
    /// An event made it void, or the origin did not answer: another try may succeed.
    Retry(ScanResult, String),
    /// Another try would fail too for some time.
    Unsupported(ScanResult, String),
}

impl Engine {
    /// Keeps a filter of the ids that exist in `contract`, which `policy` is made of and `origin` loads.
    /// Returns at once where the contract has no filter. Run it once per contract, for the life of the
    /// process: from then on reads by `policy` are answered "absent" without a load where that is proven.
    pub async fn keep_filter(
        &self,
        contract: &Contract,
        policy: &Arc<Policy>,
        origin: &Arc<dyn Origin>,
    ) {
        let Some(options) = contract.absent_filter else { return };
        let Some(scan) = origin.key_scan() else { return };
        let tiers = self.tiers();
        let local = &tiers.local;
        let (rules, metrics) = (&policy.rules, &tiers.metrics.filters);
        let add = || local.add_filter(&rules.name, &contract.key, rules.mappings.of_all());
        let id = *policy.state.filter.get_or_init(add);
        let gate = self.inner.loader.origins.primaries.gate(&**origin);
        let scanner = Scanner { tiers, contract, options, scan, gate, id };
        let mut pause = FIRST_PAUSE;
        loop {
            match scanner.run().await {
                Ok(keys) => {
                    metrics.scanned(rules, ScanResult::Ready);
                    tracing::info!(contract = contract.name, keys, "key filter is ready");
                    let has_lasted = scanner.wait_until_outdated().await;
                    pause = if has_lasted { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
                }
                Err(ScanFailure::Retry(result, why)) => {
                    metrics.scanned(rules, result);
                    tracing::debug!(contract = contract.name, why, "key scan failed; retrying");
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(ScanFailure::Unsupported(result, why)) => {
                    metrics.scanned(rules, result);
                    tracing::warn!(contract = contract.name, why, "no key filter is possible");
                    local.abandon_scan(id);
                    tokio::time::sleep(options.rebuild).await;
                    continue;
                }
            }
            local.abandon_scan(id);
            tokio::time::sleep(pause).await;
        }
    }
}

/// Makes the filter of one contract.
struct Scanner<'a> {
    tiers: &'a TierStack,
    contract: &'a Contract,
    options: AbsentFilter,
    scan: &'a dyn KeyScan,
    gate: Arc<OriginGate>,
    id: FilterId,
}

impl Scanner<'_> {
    /// Scans all ids. Returns their number once the filter is ready.
    async fn run(&self) -> Result<u64, ScanFailure> {
        let estimate = self.ask(|| self.scan.estimate()).await?;
        if let Some(why) = estimate.unsuitable {
            // From now on the existing filter is no proof either.
            self.tiers.local.reset_filter(self.id);
            return Err(ScanFailure::Unsupported(ScanResult::Unsuitable, why));
        }
        let max = max_keys(self.options.max_size_bytes, self.options.false_positives);
        let mut room = ((estimate.keys as f64 * ROOM) as u64).max(ROOM_MIN);
        loop {
            if estimate.keys > max {
                return Err(self.too_large(estimate.keys));
            }
            match self.scan_into(room.min(max)).await? {
                Some(keys) => return Ok(keys),
                None if room >= max => return Err(self.too_large(max)),
                None => room = room.saturating_mul(2),
            }
        }
    }

    fn too_large(&self, keys: u64) -> ScanFailure {
        let AbsentFilter { max_size_bytes, false_positives, .. } = self.options;
        let why = format!(
            "its table has more than {keys} ids, too many for {max_size_bytes} bytes at \
             {false_positives} false positives; raise absent_filter.max_size"
        );
        ScanFailure::Unsupported(ScanResult::TooLarge, why)
    }

    /// Scans all ids into a filter with room for `room` of them; `None`: there was too little room.
    async fn scan_into(&self, room: u64) -> Result<Option<u64>, ScanFailure> {
        let local = &self.tiers.local;
        let scan = loop {
            if let Some(scan) = local.begin_scan(self.id, || self.empty_filter(room)) {
                break scan;
            }
            tokio::time::sleep(CHECK_INTERVAL).await;
        };
        while !local.may_scan(self.id) {
            self.check(scan)?;
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
        let Some(seen) = self.scan_pages(scan).await? else { return Ok(None) };
        if !local.finish_scan(self.id, scan, seen) {
            return Err(void());
        }
        while local.is_scanning(self.id, scan) {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
        match local.filter_status().get(self.id.index()) {
            Some(filter) if local.filter_health(self.id) != FilterHealth::Missing => {
                Ok(Some(filter.keys))
            }
            _ => Err(void()),
        }
    }

    /// Reads all pages. Returns the end of the log after the last one; `None`: the filter is full.
    async fn scan_pages(&self, scan: ScanId) -> Result<Option<Lsn>, ScanFailure> {
        let (mut after, mut seen): (Option<String>, Lsn) = (None, Lsn::ZERO);
        loop {
            let began = self.tiers.now();
            let page = self.ask(|| self.scan.page(after.as_deref(), PAGE)).await?;
            seen = seen.max(log_end(&page)?);
            // An id that makes no key is refused to readers too.
            let keys: Vec<Key> =
                page.ids.iter().filter_map(|id| self.contract.key(id).ok()).collect();
            match self.tiers.local.add_scanned(self.id, scan, &keys) {
                ScanStep::Added => {}
                ScanStep::Full => return Ok(None),
                ScanStep::Void => return Err(void()),
            }
            if page.ids.len() < PAGE {
                return Ok(Some(seen));
            }
            after = page.ids.into_iter().next_back();
            tokio::time::sleep(self.tiers.now().since(began) * REST).await;
        }
    }

    fn check(&self, scan: ScanId) -> Result<(), ScanFailure> {
        if self.tiers.local.is_scanning(self.id, scan) { Ok(()) } else { Err(void()) }
    }

    fn empty_filter(&self, room: u64) -> Bloom {
        let (chance, clock) = (&self.tiers.options.chance, &self.tiers.clock);
        let seed = u128::from(chance.draw()) << 64 | u128::from(chance.draw());
        let read = ClockReading { mono: clock.mono(), wall_ms: clock.wall_ms() };
        Bloom::new(room, self.options.false_positives, seed, read)
    }

    /// Makes a background request to the origin, with retries where they may help.
    async fn ask<T, F>(&self, request: impl Fn() -> F) -> Result<T, ScanFailure>
    where
        F: Future<Output = Result<T, OriginError>>,
    {
        let mut tries = 1;
        loop {
            let err = match self.gate.background(&request).await {
                Ok(answer) => return Ok(answer),
                Err(err) => err,
            };
            let is_permanent = matches!(&err, ReadError::Origin(err)
                if matches!(err.kind, OriginErrorKind::BadRequest | OriginErrorKind::Broken));
            if is_permanent {
                return Err(ScanFailure::Unsupported(ScanResult::Failed, err.to_string()));
            }
            if tries == TRIES {
                return Err(ScanFailure::Retry(ScanResult::Failed, err.to_string()));
            }
            tries += 1;
            tokio::time::sleep(FIRST_PAUSE).await;
        }
    }

    /// Waits until the filter has to be made again. Returns whether it has lasted for the longest pause.
    async fn wait_until_outdated(&self) -> bool {
        let since = self.tiers.now();
        loop {
            let age = self.tiers.now().since(since);
            let has_lasted = age >= LONGEST_PAUSE;
            match self.tiers.local.filter_health(self.id) {
                FilterHealth::Missing => return has_lasted,
                FilterHealth::Degraded if has_lasted => return has_lasted,
                _ if age >= self.options.rebuild => return true,
                FilterHealth::Degraded | FilterHealth::Healthy => {
                    tokio::time::sleep(CHECK_INTERVAL).await;
                }
            }
        }
    }
}

fn log_end(page: &KeyPage) -> Result<Lsn, ScanFailure> {
    let why = || "the origin does not report the end of its log".to_owned();
    page.seen.ok_or_else(|| ScanFailure::Unsupported(ScanResult::Unsuitable, why()))
}

fn void() -> ScanFailure {
    ScanFailure::Retry(ScanResult::Void, "an event may have changed any row".into())
}
