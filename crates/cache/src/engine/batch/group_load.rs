//! Loads of many keys, with one request to each origin.

use std::collections::BTreeMap;
use std::sync::Arc;

use coherence::Mono;
use futures_util::future::join_all;

use crate::engine::admission::OriginGate;
use crate::engine::error::ReadError;
use crate::engine::load::{
    LoadContext, LoadOutcome, LoadRequest, Loader, content_kind, highest_class,
};
use crate::origin::{LoadItem, Loaded};

impl Loader {
    /// Loads all of the keys, with one request to each origin.
    pub(super) async fn load_all(
        &self,
        requests: &[(&LoadRequest, LoadContext)],
    ) -> Vec<Result<LoadOutcome, ReadError>> {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, (request, _)) in requests.iter().enumerate() {
            groups.entry(request.origin.name()).or_default().push(at);
        }
        let loads = groups.values().map(|group| async {
            let requests: Vec<_> = group.iter().map(|at| requests[*at]).collect();
            self.load_group(&requests, false).await.0
        });
        let mut outcomes: Vec<_> = requests.iter().map(|_| Err(ReadError::Aborted)).collect();
        for (group, loaded) in groups.values().zip(join_all(loads).await) {
            for (at, outcome) in group.iter().zip(loaded) {
                outcomes[*at] = outcome;
            }
        }
        outcomes
    }

    /// Loads at least one key from one origin, as one load of its gate. Returns whether all outcomes are from
    /// one snapshot; `one_snapshot`: whether they have to be.
    pub(super) async fn load_group(
        &self,
        requests: &[(&LoadRequest, LoadContext)],
        one_snapshot: bool,
    ) -> (Vec<Result<LoadOutcome, ReadError>>, bool) {
        let tiers = &self.tiers;
        tiers.metrics.batches.round_trip("origin");
        if let [(request, context)] = requests {
            return (vec![self.load(request, *context, None).await], true);
        }
        let mut gates = requests.iter().map(|(request, _)| self.start(request)).collect::<Vec<_>>();
        let gate = gates.swap_remove(0);
        let leases = requests.iter();
        let leases = leases.filter_map(|(request, context)| Some((&request.key, context.lease?)));
        let leases: Vec<_> = leases.collect();
        let asked = tiers.now();
        let load = self.ask_origin(requests, &gate, one_snapshot);
        let (items, is_one_snapshot) = self.with_heartbeat(&leases, load).await;
        let took = tiers.now().since(asked).as_secs_f64();
        let outcomes = requests.iter().zip(items).map(|((request, context), item)| async move {
            let rules = request.rules();
            match item {
                Ok((loaded, began)) => {
                    tiers.metrics.load(rules, content_kind(&loaded.content), took);
                    tiers.accept_load(request, loaded, began, *context).await
                }
                Err(err) => {
                    tiers.metrics.load(rules, err.as_str(), took);
                    tiers.release_lease(request, *context).await;
                    Err(err)
                }
            }
        });
        (join_all(outcomes).await, is_one_snapshot)
    }

    /// Returns the acceptable answers of a standby, and the primary's for the others, with the times at which
    /// their loads began; and whether all are from one snapshot.
    async fn ask_origin(
        &self,
        requests: &[(&LoadRequest, LoadContext)],
        gate: &Arc<OriginGate>,
        one_snapshot: bool,
    ) -> (Vec<Result<(Loaded, Mono), ReadError>>, bool) {
        self.wait_out_lag(requests.iter().map(|(request, _)| *request)).await;
        let found = self.origins.ask_standby_many(&self.tiers, requests, one_snapshot).await;
        let rest = requests.iter().zip(&found).filter(|(_, found)| found.is_none());
        let rest: Vec<&LoadRequest> = rest.map(|((request, _), _)| *request).collect();
        if rest.is_empty() {
            return (found.into_iter().flatten().map(Ok).collect(), true);
        }
        let (loaded, is_one_snapshot) = ask_primary(&rest, gate).await;
        let is_one_snapshot = is_one_snapshot && rest.len() == requests.len();
        let mut loaded = loaded.into_iter();
        let all = found.into_iter().map(|found| match found {
            Some(found) => Ok(found),
            None => loaded.next().unwrap_or(Err(ReadError::Aborted)),
        });
        (all.collect(), is_one_snapshot)
    }
}

async fn ask_primary(
    requests: &[&LoadRequest],
    gate: &Arc<OriginGate>,
) -> (Vec<Result<(Loaded, Mono), ReadError>>, bool) {
    let class = highest_class(requests.iter().copied());
    let items = requests.iter();
    let items = items.map(|request| LoadItem {
        origin: &*request.origin,
        key: &request.key,
        id: &request.id,
    });
    match gate.load_many(&items.collect::<Vec<_>>(), class, false).await {
        Ok((loaded, began)) => {
            let items = loaded.items.into_iter();
            let items = items.map(|item| Ok((item.map_err(ReadError::Origin)?, began)));
            (items.collect(), loaded.one_snapshot)
        }
        Err(err) => (requests.iter().map(|_| Err(err.clone())).collect(), false),
    }
}
