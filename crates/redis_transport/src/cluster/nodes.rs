//! The nodes of a cluster, and their reports on its topology.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, RedisError};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::topology::Topology;
use crate::acl::{AclUser, is_refused};
use crate::error::TransportError;
use crate::server::{ServerInfo, is_login_refused};

/// The time limit of one node, including the connection.
const NODE_TIMEOUT: Duration = Duration::from_millis(500);
/// The time limit of the others after a majority has answered, so that connections to them are opened.
const MINORITY_TIMEOUT: Duration = Duration::from_millis(20);

/// The known nodes: the nodes of the URL, and the nodes that these report.
pub(crate) struct Nodes {
    /// Login and TLS of every node.
    template: ServerInfo,
    seeds: Vec<ServerInfo>,
    known: BTreeMap<String, Node>,
}

struct Node {
    info: ServerInfo,
    connection: Option<MultiplexedConnection>,
}

impl Nodes {
    pub(crate) fn new(template: ServerInfo, seeds: Vec<ServerInfo>) -> Self {
        let mut nodes = Self { template, seeds, known: BTreeMap::new() };
        nodes.update(&Topology::default());
        nodes
    }

    fn update(&mut self, topology: &Topology) {
        self.known.retain(|name, _| topology.nodes.contains(name));
        for name in &topology.nodes {
            if !self.known.contains_key(name)
                && let Some(info) = address_of(&self.template, name)
            {
                self.known.insert(name.clone(), Node { info, connection: None });
            }
        }
        // A seed may have another address than the one that the node reports. Then both are asked.
        for seed in &self.seeds {
            let node = || Node { info: seed.clone(), connection: None };
            self.known.entry(seed.addr().to_string()).or_insert_with(node);
        }
    }

    /// Asks all nodes at once. The answers of a majority are awaited while a majority can still answer.
    pub(crate) async fn topology(
        &mut self,
        user: &AclUser<'_>,
    ) -> Result<Topology, TransportError> {
        let mut queries = JoinSet::new();
        for (name, node) in &self.known {
            let (info, connection, name) =
                (node.info.clone(), node.connection.clone(), name.clone());
            queries
                .spawn(async move { (name, timeout(NODE_TIMEOUT, query(info, connection)).await) });
        }
        let (mut topology, mut answers, mut failures) = (Topology::default(), 0, Vec::new());
        let by_name = matches!(self.template.addr(), ConnectionAddr::TcpTls { .. });
        loop {
            let next = queries.join_next();
            let next = if answers > self.known.len() / 2 {
                timeout(MINORITY_TIMEOUT, next).await.unwrap_or(None)
            } else {
                next.await
            };
            let Some(Ok((name, answer))) = next else { break };
            let Some(node) = self.known.get_mut(&name) else { continue };
            node.connection = None;
            match answer {
                Ok(Ok((report, connection))) => {
                    answers += 1;
                    node.connection = Some(connection);
                    let host = name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host);
                    topology.merge(&report, host, by_name);
                }
                Ok(Err(err)) => failures.push((name, Some(err))),
                Err(_) => failures.push((name, None)),
            }
        }
        if answers == 0 {
            return Err(no_topology(&failures, user));
        }
        self.update(&topology);
        Ok(topology)
    }
}

fn address_of(template: &ServerInfo, node: &str) -> Option<ServerInfo> {
    let (host, port) = node.rsplit_once(':')?;
    Some(template.at(host.to_owned(), port.parse().ok()?))
}

fn no_topology(failures: &[(String, Option<RedisError>)], user: &AclUser<'_>) -> TransportError {
    let said = |words: &str| {
        failures
            .iter()
            .any(|(_, err)| err.as_ref().is_some_and(|err| err.to_string().contains(words)))
    };
    if said("cluster support disabled") {
        return TransportError::Unsuitable(
            "it is no cluster: the server stands alone; write redis://host:port".to_owned(),
        );
    }
    let errors = || failures.iter().filter_map(|(_, err)| err.as_ref());
    if let Some(err) = errors().find(|err| is_login_refused(err)) {
        return TransportError::login_refused(err);
    }
    if errors().any(is_refused) {
        return user.lacks(&["cluster|nodes".to_owned()]);
    }
    let reasons = failures.iter().map(|(at, err)| match err {
        Some(err) => format!("{at}: {err}"),
        None => format!("{at}: no answer within {NODE_TIMEOUT:?}"),
    });
    let reasons: Vec<_> = reasons.collect();
    TransportError::Unavailable(format!("no node of the cluster answers ({})", reasons.join("; ")))
}

async fn query(
    info: ServerInfo,
    connection: Option<MultiplexedConnection>,
) -> Result<(String, MultiplexedConnection), RedisError> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(NODE_TIMEOUT))
                .set_response_timeout(Some(NODE_TIMEOUT));
            info.open(&config).await?
        }
    };
    let report = redis::cmd("CLUSTER").arg("NODES").query_async(&mut connection).await?;
    Ok((report, connection))
}
