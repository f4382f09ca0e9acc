//! Asking a cluster's nodes who serves what.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisError};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::super::TierError;
use super::super::place;
use super::super::rights::{self, Rights};
use super::view::View;

/// What one node may take, with connecting.
const PATIENCE: Duration = Duration::from_millis(500);
/// What the others may take once a majority has answered; so that connections to them are made.
const GRACE: Duration = Duration::from_millis(20);

/// The nodes that are known: those of the URL, and those that they name.
pub(super) struct Nodes {
    /// Login and TLS, wherever a node is.
    any: ConnectionInfo,
    seeds: Vec<ConnectionInfo>,
    known: BTreeMap<String, Node>,
}

struct Node {
    info: ConnectionInfo,
    connection: Option<MultiplexedConnection>,
}

impl Nodes {
    pub(super) fn new(any: ConnectionInfo, seeds: Vec<ConnectionInfo>) -> Self {
        let mut nodes = Self { any, seeds, known: BTreeMap::new() };
        nodes.know(&View::default());
        nodes
    }

    fn know(&mut self, view: &View) {
        self.known.retain(|name, _| view.nodes.contains(name));
        for name in &view.nodes {
            if !self.known.contains_key(name)
                && let Some(info) = at(&self.any, name)
            {
                self.known.insert(name.clone(), Node { info, connection: None });
            }
        }
        // They may have another name than the nodes give themselves; then both are asked.
        for seed in &self.seeds {
            let node = || Node { info: seed.clone(), connection: None };
            self.known.entry(seed.addr().to_string()).or_insert_with(node);
        }
    }

    /// Asks all at once; waits for a majority's answers as long as there may be one.
    pub(super) async fn look(&mut self, rights: &Rights<'_>) -> Result<View, TierError> {
        let mut asked = JoinSet::new();
        for (name, node) in &self.known {
            let (info, connection, name) =
                (node.info.clone(), node.connection.clone(), name.clone());
            asked.spawn(async move { (name, timeout(PATIENCE, ask(info, connection)).await) });
        }
        let (mut view, mut answers, mut complaints) = (View::default(), 0, Vec::new());
        let by_name = matches!(self.any.addr(), ConnectionAddr::TcpTls { .. });
        loop {
            let next = asked.join_next();
            let next = if answers > self.known.len() / 2 {
                timeout(GRACE, next).await.unwrap_or(None)
            } else {
                next.await
            };
            let Some(Ok((name, answer))) = next else { break };
            let Some(node) = self.known.get_mut(&name) else { continue };
            node.connection = None;
            match answer {
                Ok(Ok((told, connection))) => {
                    answers += 1;
                    node.connection = Some(connection);
                    let host = name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host);
                    view.add(&told, host, by_name);
                }
                Ok(Err(err)) => complaints.push((name, Some(err))),
                Err(_) => complaints.push((name, None)),
            }
        }
        if answers == 0 {
            return Err(nobody_knows(&complaints, rights));
        }
        self.know(&view);
        Ok(view)
    }
}

fn at(any: &ConnectionInfo, node: &str) -> Option<ConnectionInfo> {
    let (host, port) = node.rsplit_once(':')?;
    Some(place::at(any, host.to_owned(), port.parse().ok()?))
}

fn nobody_knows(complaints: &[(String, Option<RedisError>)], rights: &Rights<'_>) -> TierError {
    let said = |words: &str| {
        complaints
            .iter()
            .any(|(_, err)| err.as_ref().is_some_and(|err| err.to_string().contains(words)))
    };
    if said("cluster support disabled") {
        return TierError::Unsuitable(
            "it is no cluster: the server stands alone; write redis://host:port".to_owned(),
        );
    }
    if complaints.iter().any(|(_, err)| err.as_ref().is_some_and(rights::is_refused)) {
        return rights.lacks(&["cluster|nodes".to_owned()]);
    }
    let told = complaints.iter().map(|(at, err)| match err {
        Some(err) => format!("{at}: {err}"),
        None => format!("{at}: no answer within {PATIENCE:?}"),
    });
    let told: Vec<_> = told.collect();
    TierError::Unavailable(format!("no node of the cluster answers ({})", told.join("; ")))
}

async fn ask(
    info: ConnectionInfo,
    connection: Option<MultiplexedConnection>,
) -> Result<(String, MultiplexedConnection), RedisError> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(PATIENCE))
                .set_response_timeout(Some(PATIENCE));
            Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?
        }
    };
    let told = redis::cmd("CLUSTER").arg("NODES").query_async(&mut connection).await?;
    Ok((told, connection))
}
