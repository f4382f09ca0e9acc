//! Discovery of the primary through sentinels.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::TransportError;
use crate::server::{ServerInfo, is_login_refused};

/// The time limit of one sentinel, including the connection.
const SENTINEL_TIMEOUT: Duration = Duration::from_millis(500);
/// The time limit of the others after a majority has answered, so that connections to them are opened.
const MINORITY_TIMEOUT: Duration = Duration::from_millis(20);

/// The sentinels of one primary, with the connections to them.
pub(crate) struct Sentinels {
    name: String,
    all: Vec<Sentinel>,
}

struct Sentinel {
    info: ServerInfo,
    connection: Option<MultiplexedConnection>,
}

/// The primary, as one sentinel reports it.
struct PrimaryReport {
    /// Rises with each failover that the sentinels have agreed on.
    config_epoch: u64,
    host: String,
    port: u16,
}

impl Sentinels {
    pub(crate) fn new(name: String, addresses: Vec<ServerInfo>) -> Self {
        let all = addresses.into_iter().map(|info| Sentinel { info, connection: None }).collect();
        Self { name, all }
    }

    /// Returns host and port of the primary. All sentinels are asked at once, and the answers of a majority
    /// are awaited while a majority can still answer: a sentinel that was cut off still names the previous
    /// primary, and the newest configuration wins.
    pub(crate) async fn primary(&mut self) -> Result<(String, u16), TransportError> {
        let mut queries = JoinSet::new();
        for (at, sentinel) in self.all.iter().enumerate() {
            let (info, connection) = (sentinel.info.clone(), sentinel.connection.clone());
            let name = self.name.clone();
            queries.spawn(async move {
                (at, timeout(SENTINEL_TIMEOUT, query(info, connection, name)).await)
            });
        }
        let mut newest: Option<PrimaryReport> = None;
        let (mut answers, mut failures) = (0, Vec::new());
        loop {
            let next = queries.join_next();
            let next = if answers > self.all.len() / 2 {
                timeout(MINORITY_TIMEOUT, next).await.unwrap_or(None)
            } else {
                next.await
            };
            let Some(Ok((at, answer))) = next else { break };
            let sentinel = &mut self.all[at];
            match answer {
                Ok(Ok((report, connection))) => {
                    answers += 1;
                    sentinel.connection = Some(connection);
                    let newer = |newest: &PrimaryReport| newest.config_epoch < report.config_epoch;
                    if newest.as_ref().is_none_or(newer) {
                        newest = Some(report);
                    }
                    continue;
                }
                Ok(Err(err)) => failures.push((sentinel.info.addr().to_string(), Some(err))),
                Err(_) => failures.push((sentinel.info.addr().to_string(), None)),
            }
            sentinel.connection = None;
        }
        match newest {
            Some(PrimaryReport { host, port, .. }) => Ok((host, port)),
            None => Err(self.no_primary(&failures)),
        }
    }

    fn no_primary(&self, failures: &[(String, Option<RedisError>)]) -> TransportError {
        let unknown = |err: &Option<RedisError>| {
            err.as_ref().is_some_and(|err| err.to_string().contains("No such master"))
        };
        if failures.iter().any(|(_, err)| unknown(err)) {
            return TransportError::Unsuitable(format!(
                "the sentinels watch nothing called {:?}; `redis-cli -p 26379 sentinel masters` \
                 shows what they do",
                self.name
            ));
        }
        let errors = || failures.iter().filter_map(|(_, err)| err.as_ref());
        if let Some(err) = errors().find(|err| is_login_refused(err)) {
            return TransportError::Unsuitable(format!(
                "a sentinel refuses the login ({err}); set sentinel_user, and sentinel_password or \
                 sentinel_password_file"
            ));
        }
        let reasons = failures.iter().map(|(at, err)| match err {
            Some(err) => format!("{at}: {err}"),
            None => format!("{at}: no answer within {SENTINEL_TIMEOUT:?}"),
        });
        let reasons: Vec<_> = reasons.collect();
        TransportError::Unavailable(format!(
            "no sentinel knows its address ({})",
            reasons.join("; ")
        ))
    }
}

async fn query(
    info: ServerInfo,
    connection: Option<MultiplexedConnection>,
    name: String,
) -> Result<(PrimaryReport, MultiplexedConnection), RedisError> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(SENTINEL_TIMEOUT))
                .set_response_timeout(Some(SENTINEL_TIMEOUT));
            info.open(&config).await?
        }
    };
    let mut pipe = redis::pipe();
    // In this order: an address that is newer than its configuration epoch does no harm.
    pipe.cmd("SENTINEL").arg("MASTER").arg(&name);
    pipe.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&name);
    let (master, (host, port)): (HashMap<String, String>, (String, u16)) =
        pipe.query_async(&mut connection).await?;
    let config_epoch = master.get("config-epoch").and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok((PrimaryReport { config_epoch, host, port }, connection))
}
