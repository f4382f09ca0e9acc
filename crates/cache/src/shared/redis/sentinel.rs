//! Asking the sentinels where the primary is.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisError};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::TierError;

/// What one sentinel may take, with connecting.
const PATIENCE: Duration = Duration::from_millis(500);
/// What the others may take once a majority has answered; so that connections to them are made.
const GRACE: Duration = Duration::from_millis(20);

/// The sentinels of one primary, and the connections to them.
pub(super) struct Sentinels {
    name: String,
    all: Vec<Sentinel>,
}

struct Sentinel {
    info: ConnectionInfo,
    connection: Option<MultiplexedConnection>,
}

/// What a sentinel says.
struct Said {
    /// Rises with each failover that the sentinels agreed on.
    config_epoch: u64,
    host: String,
    port: u16,
}

impl Sentinels {
    pub(super) fn new(name: String, at: Vec<ConnectionInfo>) -> Self {
        let all = at.into_iter().map(|info| Sentinel { info, connection: None }).collect();
        Self { name, all }
    }

    /// Host and port of the primary. All are asked at once, and a majority's answers are waited for as
    /// long as there may be one: a sentinel that was cut off still names the primary of before, and
    /// the newest configuration counts.
    pub(super) async fn primary(&mut self) -> Result<(String, u16), TierError> {
        let mut asked = JoinSet::new();
        for (at, sentinel) in self.all.iter().enumerate() {
            let (info, connection) = (sentinel.info.clone(), sentinel.connection.clone());
            let name = self.name.clone();
            asked.spawn(async move { (at, timeout(PATIENCE, ask(info, connection, name)).await) });
        }
        let mut newest: Option<Said> = None;
        let (mut answers, mut complaints) = (0, Vec::new());
        loop {
            let next = asked.join_next();
            let next = if answers > self.all.len() / 2 {
                timeout(GRACE, next).await.unwrap_or(None)
            } else {
                next.await
            };
            let Some(Ok((at, answer))) = next else { break };
            let sentinel = &mut self.all[at];
            match answer {
                Ok(Ok((said, connection))) => {
                    answers += 1;
                    sentinel.connection = Some(connection);
                    let newer = |newest: &Said| newest.config_epoch < said.config_epoch;
                    if newest.as_ref().is_none_or(newer) {
                        newest = Some(said);
                    }
                    continue;
                }
                Ok(Err(err)) => complaints.push((sentinel.info.addr().to_string(), Some(err))),
                Err(_) => complaints.push((sentinel.info.addr().to_string(), None)),
            }
            sentinel.connection = None;
        }
        match newest {
            Some(Said { host, port, .. }) => Ok((host, port)),
            None => Err(self.nobody_knows(&complaints)),
        }
    }

    fn nobody_knows(&self, complaints: &[(String, Option<RedisError>)]) -> TierError {
        let unknown = |err: &Option<RedisError>| {
            err.as_ref().is_some_and(|err| err.to_string().contains("No such master"))
        };
        if complaints.iter().any(|(_, err)| unknown(err)) {
            return TierError::Unsuitable(format!(
                "the sentinels watch nothing called {:?}; `redis-cli -p 26379 sentinel masters` \
                 shows what they do",
                self.name
            ));
        }
        let told = complaints.iter().map(|(at, err)| match err {
            Some(err) => format!("{at}: {err}"),
            None => format!("{at}: no answer within {PATIENCE:?}"),
        });
        let told: Vec<_> = told.collect();
        TierError::Unavailable(format!("no sentinel says where it is ({})", told.join("; ")))
    }
}

async fn ask(
    info: ConnectionInfo,
    connection: Option<MultiplexedConnection>,
    name: String,
) -> Result<(Said, MultiplexedConnection), RedisError> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(PATIENCE))
                .set_response_timeout(Some(PATIENCE));
            let client = Client::open(info)?;
            client.get_multiplexed_async_connection_with_config(&config).await?
        }
    };
    let mut questions = redis::pipe();
    // In this order: an address that is younger than its configuration's number does no harm.
    questions.cmd("SENTINEL").arg("MASTER").arg(&name);
    questions.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&name);
    let (master, (host, port)): (HashMap<String, String>, (String, u16)) =
        questions.query_async(&mut connection).await?;
    let config_epoch = master.get("config-epoch").and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok((Said { config_epoch, host, port }, connection))
}
