//! A node's client of the virtual shared tier: the embedded tier's state behind a network.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::shared::{
    Fill, LeadRequest, Leadership, Led, MemoryTier, NodeMessage, Outcome, SharedRead, SharedTier,
    TierPosition, Touch,
};
use cache::{Content, Survey, TierError};
use coherence::fence::Gap;
use coherence::{AppliedSchema, Batch, Epoch, LeaseToken, Lsn, Subject, Verdict};
use contract::Key;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::checks;
use super::contracts::number_of;
use super::environment::{CALL_TIMEOUT, CallError, Environment, Peer};
use super::recorder::{self, Interaction, Participant, Tone};
use super::trace::TraceEvent;

/// The largest number of messages that a node may lag behind.
const BACKLOG: usize = 256;

/// A node's client of the shared tier.
#[derive(Clone)]
pub(super) struct RemoteTier {
    pub(super) env: Arc<Environment>,
    pub(super) node: usize,
    pub(super) generation: u64,
}

fn failed(failed: CallError) -> TierError {
    match failed {
        CallError::Refused => TierError::Unavailable("cut off".into()),
        CallError::Silent => TierError::Timeout(CALL_TIMEOUT),
    }
}

/// Returns the error of a server that has failed before or after the request took effect.
fn error() -> TierError {
    TierError::Unavailable("an internal error".into())
}

/// Returns the external name of a lease, which is void in other generations of the server.
fn to_external(generation: u64, lease: LeaseToken) -> LeaseToken {
    LeaseToken(generation << 32 | lease.0)
}

fn to_internal(generation: u64, lease: LeaseToken) -> LeaseToken {
    if lease.0 >> 32 == generation {
        LeaseToken(lease.0 & u64::from(u32::MAX))
    } else {
        LeaseToken(u64::MAX)
    }
}

impl RemoteTier {
    /// Sends a question and returns the answer. At random, the caller has given up before the question
    /// arrives.
    async fn call<T, F>(
        &self,
        name: &'static str,
        step: impl FnOnce(Arc<MemoryTier>, u64) -> F + Send + 'static,
    ) -> Result<T, TierError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, TierError>> + Send + 'static,
    {
        self.env.transmit(self.node, self.generation, Peer::Shared).await.map_err(failed)?;
        let late = {
            let share = self.env.faults.lock().lost_answers;
            self.env.chance(share / 2.0)
        };
        if late {
            let this = self.clone();
            let (done, answer) = oneshot::channel();
            tokio::spawn(async move {
                sleep(this.env.millis(30, 1_500)).await;
                let _ = done.send(this.step(name, step).await);
            });
            let lost = Err(TierError::Timeout(CALL_TIMEOUT));
            return match timeout(CALL_TIMEOUT, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) | Err(_) => lost,
            };
        }
        let fails = self.env.fails();
        if fails && self.env.chance(0.5) {
            return Err(error());
        }
        let answer = self.step(name, step).await?;
        if fails {
            return Err(error());
        }
        let lost = self.env.faults.lock().lost_answers;
        if self.env.chance(lost) {
            sleep(CALL_TIMEOUT).await;
            return Err(TierError::Timeout(CALL_TIMEOUT));
        }
        self.env.transmit(self.node, self.generation, Peer::Shared).await.map_err(failed)?;
        Ok(answer)
    }

    /// Records a question that left and was answered at these times, and whose answer has arrived now.
    fn record_call(
        &self,
        [left, turned]: [u64; 2],
        question: impl FnOnce() -> String,
        answer: impl FnOnce() -> (String, Tone),
    ) {
        let (recorder, who) =
            (&self.env.recorder, [Participant::Node(self.node), Participant::Shared]);
        recorder.record_exchange(who, [left, turned, self.env.now()], question, answer);
    }

    async fn step<T, F>(
        &self,
        name: &'static str,
        step: impl FnOnce(Arc<MemoryTier>, u64) -> F,
    ) -> Result<T, TierError>
    where
        F: Future<Output = Result<T, TierError>>,
    {
        let (memory, generation) = {
            let server = self.env.server.lock();
            if !server.up {
                return Err(TierError::Unavailable("down".into()));
            }
            (server.memory(), server.generation)
        };
        self.env.note(Some(self.node), TraceEvent::Shared(name, generation));
        // The embedded tier never waits, so this is one step.
        step(memory, generation).await
    }

    /// Delivers the node stream as the Redis tier does: after each interruption, `Lost` comes first.
    async fn run_stream(self, messages: mpsc::Sender<NodeMessage>) {
        loop {
            if self.env.transmit(self.node, self.generation, Peer::Shared).await.is_err() {
                sleep(self.env.millis(10, 500)).await;
                continue;
            }
            let subscribed = {
                let server = self.env.server.lock();
                server.up.then(|| server.memory().subscribe())
            };
            let Some(mut stream) = subscribed else {
                sleep(self.env.millis(10, 500)).await;
                continue;
            };
            if !self.send_message(&messages, NodeMessage::Lost).await {
                return;
            }
            loop {
                let message = tokio::select! {
                    biased;
                    () = messages.closed() => return,
                    message = stream.recv() => message,
                };
                let Some(message) = message else { break };
                let left = self.env.now();
                sleep(self.env.millis(0, 4)).await;
                self.reachable().await;
                if std::mem::take(&mut self.env.faults.lock().break_stream[self.node]) {
                    break;
                }
                let mut next = Some(message);
                while let Some(message) = next {
                    self.arrives(&message, left);
                    if !self.send_message(&messages, message).await {
                        return;
                    }
                    next = stream.try_recv().ok();
                }
            }
            // A broken stream is detected within one heartbeat.
            sleep(self.env.millis(1, 1_000)).await;
        }
    }

    fn arrives(&self, message: &NodeMessage, left: u64) {
        let NodeMessage::Batch(batch) = message else { return };
        if batch.events.is_empty() {
            return;
        }
        self.env.recorder.record(|| {
            let (from, to, arrived) =
                (Participant::Shared, Participant::Node(self.node), self.env.now());
            Interaction::Message {
                from,
                to,
                left,
                arrived,
                text: recorder::piece(batch),
                tone: Tone::Plain,
            }
        });
    }

    async fn reachable(&self) {
        self.env.until_running(self.node, self.generation).await;
        while self.env.faults.lock().cut_shared[self.node] {
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn send_message(
        &self,
        messages: &mpsc::Sender<NodeMessage>,
        message: NodeMessage,
    ) -> bool {
        let (name, upto) = match &message {
            NodeMessage::Batch(batch) => ("batch", batch.upto.0),
            NodeMessage::Evict(_) => ("evict", 0),
            NodeMessage::Lost => ("lost", 0),
        };
        self.env.note(Some(self.node), TraceEvent::Message(name, upto));
        messages.send(message).await.is_ok()
    }
}

impl RemoteTier {
    async fn read_one(
        &self,
        key: &Key,
        touch: Option<Touch>,
        lease: Option<Duration>,
    ) -> Result<SharedRead, TierError> {
        let (env, key) = (Arc::clone(&self.env), key.clone());
        let left = env.now();
        let read = self.call("read", move |memory, generation| async move {
            let found =
                memory.read_and_touch(std::slice::from_ref(&key), &[touch], lease).await?.pop();
            let Some(mut read) = found else { unreachable!("one key was read") };
            if let Outcome::Lead(granted) = &mut read.outcome {
                *granted = to_external(generation, *granted);
                let (granted, now) = (*granted, env.now());
                let mut server = env.server.lock();
                if let Some(holder) = server.holder(&key, now) {
                    env.violation(format!(
                        "{key} is granted to {granted:?} while {holder:?} has the lease"
                    ));
                }
                server.record_holder(&key, granted, now, lease.unwrap_or_default());
            }
            if let (Some(TierPosition { epoch, applied, .. }), Outcome::Found { entry, .. }) =
                (read.position, &read.outcome)
            {
                let what = "the shared tier's entry";
                checks::check_entry(&env, what, number_of(&key), &entry.content, epoch, applied);
            }
            Ok((read, env.now()))
        });
        let (read, turned) = read.await?;
        self.record_call([left, turned], || "read".into(), || recorder::found(&read));
        Ok(read)
    }
}

#[async_trait]
impl SharedTier for RemoteTier {
    async fn read(&self, key: &Key, lease: Option<Duration>) -> Result<SharedRead, TierError> {
        self.read_one(key, None, lease).await
    }

    async fn read_and_touch(
        &self,
        keys: &[Key],
        touches: &[Option<Touch>],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        let mut reads = Vec::with_capacity(keys.len());
        for (key, touch) in keys.iter().zip(touches) {
            reads.push(self.read_one(key, *touch, lease).await?);
        }
        Ok(reads)
    }

    async fn touch(&self, uses: &[(Key, Touch)]) -> Result<(), TierError> {
        let uses = uses.to_vec();
        self.call("touch", move |memory, _| async move { memory.touch(&uses).await }).await
    }

    async fn inspect(&self, key: &Key) -> Result<SharedRead, TierError> {
        let key = key.clone();
        self.call("inspect", move |memory, _| async move { memory.inspect(&key).await }).await
    }

    async fn fill(&self, fill: &Fill) -> Result<Verdict, TierError> {
        let (env, mut fill) = (Arc::clone(&self.env), fill.clone());
        debug_assert!(!matches!(fill.entry.content, Content::Uncacheable));
        let (left, offered) = (env.now(), fill.entry.clone());
        let call = self.call("fill", move |memory, generation| async move {
            let lease = fill.lease;
            fill.lease = lease.map(|lease| to_internal(generation, lease));
            let before = memory.inspect(&fill.key).await?;
            let verdict = memory.fill(&fill).await?;
            if verdict == Verdict::Accept
                && let Outcome::Found { entry, .. } = before.outcome
                && entry.tau > fill.entry.tau
            {
                let (old, new, key) = (entry.tau, fill.entry.tau, &fill.key);
                env.violation(format!("under {key} version {old} was replaced by {new}"));
            }
            if let Some(lease) = lease {
                let mut server = env.server.lock();
                let holder = server.holder(&fill.key, env.now());
                if verdict == Verdict::Accept && holder.is_some_and(|holder| holder != lease) {
                    let key = &fill.key;
                    env.violation(format!("{key} was stored by {lease:?} past {holder:?}"));
                }
                server.remove_holder(&fill.key, lease);
            }
            Ok((verdict, env.now()))
        });
        let (verdict, turned) = call.await?;
        let question =
            || format!("fill {}, τ={}", recorder::value(&offered.content), offered.tau.0);
        self.record_call([left, turned], question, || recorder::kept(verdict));
        Ok(verdict)
    }

    async fn renew(&self, key: &Key, lease: LeaseToken, ttl: Duration) -> Result<bool, TierError> {
        let (env, key) = (Arc::clone(&self.env), key.clone());
        self.call("renew", move |memory, generation| async move {
            let renewed = memory.renew(&key, to_internal(generation, lease), ttl).await?;
            if renewed {
                let (mut server, now) = (env.server.lock(), env.now());
                let holder = server.holder(&key, now);
                if holder.is_some_and(|holder| holder != lease) {
                    env.violation(format!(
                        "{key}: {lease:?} was renewed, but {holder:?} has the lease"
                    ));
                }
                server.record_holder(&key, lease, now, ttl);
            }
            Ok(renewed)
        })
        .await
    }

    async fn release(&self, key: &Key, lease: LeaseToken) -> Result<(), TierError> {
        let (env, key) = (Arc::clone(&self.env), key.clone());
        self.call("release", move |memory, generation| async move {
            env.server.lock().remove_holder(&key, lease);
            memory.release(&key, to_internal(generation, lease)).await
        })
        .await
    }

    async fn apply(&self, batch: &Batch) -> Result<Result<(), Gap>, TierError> {
        let (env, told, left) = (Arc::clone(&self.env), batch.clone(), self.env.now());
        let (upto, watermark) = (batch.upto.0, batch.watermark.0);
        let what = TraceEvent::Apply { upto, watermark, events: batch.events.len() };
        env.note(Some(self.node), what);
        let call = self.call("apply", move |memory, _| async move {
            Ok((memory.apply(&told).await?, env.now()))
        });
        let (applied, turned) = call.await?;
        self.record_call(
            [left, turned],
            || recorder::piece(batch),
            || recorder::applied(batch, &applied),
        );
        Ok(applied)
    }

    async fn evict(&self, subjects: &[Subject]) -> Result<(), TierError> {
        let subjects = subjects.to_vec();
        self.call("evict", move |memory, _| async move { memory.evict(&subjects).await }).await
    }

    async fn survey(&self, subjects: &[Subject]) -> Result<Survey, TierError> {
        let subjects = subjects.to_vec();
        self.call("survey", move |memory, _| async move { memory.survey(&subjects).await }).await
    }

    async fn reset_epoch(&self, epoch: Epoch, at: Lsn, watermark: Lsn) -> Result<(), TierError> {
        let (env, left) = (Arc::clone(&self.env), self.env.now());
        let call = self.call("reset epoch", move |memory, _| async move {
            env.server.lock().holders.clear();
            memory.reset_epoch(epoch, at, watermark).await?;
            Ok(env.now())
        });
        let turned = call.await?;
        let begun = || ("everything else is void".into(), Tone::Plain);
        self.record_call([left, turned], || format!("new epoch at {}", at.0), begun);
        Ok(())
    }

    async fn lead(&self, request: &LeadRequest) -> Result<Led, TierError> {
        let request = request.clone();
        self.call("lead", move |memory, _| async move { memory.lead(&request).await }).await
    }

    async fn leadership(&self) -> Result<Leadership, TierError> {
        self.call("leadership", |memory, _| async move { memory.leadership().await }).await
    }

    async fn position(&self) -> Result<Option<TierPosition>, TierError> {
        self.call("position", |memory, _| async move { memory.position().await }).await
    }

    async fn applied_schema(&self) -> Result<Option<(Epoch, Option<AppliedSchema>)>, TierError> {
        self.call("schema", |memory, _| async move { memory.applied_schema().await }).await
    }

    async fn record_schema(&self, epoch: Epoch, schema: &AppliedSchema) -> Result<bool, TierError> {
        let schema = schema.clone();
        let record = move |memory: Arc<MemoryTier>, _| async move {
            memory.record_schema(epoch, &schema).await
        };
        self.call("record schema", record).await
    }

    async fn collect(&self, upto: Lsn) -> Result<u64, TierError> {
        self.call("collect", move |memory, _| async move { memory.collect(upto).await }).await
    }

    fn subscribe(&self) -> mpsc::Receiver<NodeMessage> {
        let (messages, receiver) = mpsc::channel(BACKLOG);
        tokio::spawn(self.clone().run_stream(messages));
        receiver
    }
}
