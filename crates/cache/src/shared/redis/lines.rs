//! Calls to the server that has a bucket: to the one there is, or to a shard of a cluster.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, ScriptInvocation, Value};

use super::super::TierError;
use super::buckets::Buckets;
use super::cluster::Cluster;
use super::line::{Dial, Line, Up, Way};
use super::options::RedisOptions;
use super::place::Place;
use super::reply::failed;
use super::scripts::Scripts;
use super::sentinel::Sentinels;
use crate::patience::in_time;

/// The servers of a tier.
#[derive(Clone)]
pub(super) enum Lines {
    One(Line),
    Cluster(Cluster),
}

/// What is called; all of its keys are in one bucket.
#[derive(Clone, Copy)]
pub(super) enum Call<'a> {
    Script(&'a ScriptInvocation<'a>),
    Command(&'a Cmd),
}

impl Call<'_> {
    pub(super) async fn run(self, connection: &mut MultiplexedConnection) -> RedisResult<Value> {
        match self {
            Self::Script(call) => call.invoke_async(connection).await,
            Self::Command(call) => call.query_async(connection).await,
        }
    }

    /// At a node that is being given the slot.
    pub(super) async fn run_asking(
        self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<Value> {
        let mut pipe = redis::pipe();
        pipe.cmd("ASKING").ignore();
        match self {
            Self::Script(call) => pipe.invoke_script(call),
            Self::Command(call) => pipe.add_command(call.clone()),
        };
        let (value,) = pipe.query_async(connection).await?;
        Ok(value)
    }
}

impl Lines {
    /// Connects, and answers into which buckets the keys are divided there.
    pub(super) async fn connect(
        options: &RedisOptions,
        scripts: &Arc<Scripts>,
    ) -> Result<(Self, Buckets), TierError> {
        let metrics = &options.metrics;
        let way = match options.place()? {
            Place::Server(info) => Way::Fixed(info),
            Place::Sentinels { name, at, primary } => {
                Way::Asked { sentinels: Sentinels::new(name, at), primary }
            }
            Place::Cluster { seeds, any } => {
                let buckets = Buckets::spread(&options.prefix);
                let cluster =
                    Cluster::connect(any, seeds, &buckets, scripts, metrics, options.timeout);
                return Ok((Self::Cluster(cluster.await?), buckets));
            }
        };
        let buckets = Buckets::one(&options.prefix);
        let dial = Dial {
            way,
            names: buckets.names(0).clone(),
            scripts: Arc::clone(scripts),
            metrics: metrics.clone(),
        };
        Ok((Self::One(Line::connect(dial, options.timeout).await?), buckets))
    }

    /// Calls within the time limit.
    pub(super) async fn call(
        &self,
        bucket: usize,
        limit: Duration,
        call: Call<'_>,
    ) -> Result<Value, TierError> {
        let asked = async {
            match self {
                Self::One(line) => {
                    let mut up = line.up().await?;
                    call.run(&mut up.connection).await.map_err(|err| {
                        line.report(&up, &err);
                        failed(&err, limit)
                    })
                }
                Self::Cluster(cluster) => cluster.call(bucket, call, limit).await,
            }
        };
        in_time(limit, asked).await.unwrap_or_else(|| {
            if let Self::Cluster(cluster) = self {
                cluster.doubt();
            }
            Err(TierError::Timeout(limit))
        })
    }

    /// The connection to the server that has the bucket.
    pub(super) async fn up(&self, bucket: usize) -> Result<Up, TierError> {
        match self {
            Self::One(line) => line.up().await,
            Self::Cluster(cluster) => cluster.up(bucket).await,
        }
    }

    /// Waits until the bucket is at another address than `up` has it.
    pub(super) async fn moved(&self, bucket: usize, up: &Up) {
        match self {
            Self::One(line) => line.moved(up).await,
            Self::Cluster(cluster) => cluster.moved(bucket, up).await,
        }
    }

    /// Something went wrong over a connection that is not the line's own.
    pub(super) fn doubt(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.doubt();
        }
    }

    /// One bucket of each server.
    pub(super) fn one_of_each(&self) -> Vec<usize> {
        match self {
            Self::One(_) => vec![0],
            Self::Cluster(cluster) => cluster.one_of_each(),
        }
    }
}
