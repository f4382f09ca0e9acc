//! The virtual shared tier: the embedded tier's state behind a network, with restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::shared::{
    Fill, MemoryTier, NodeMessage, Outcome, SharedRead, SharedTier, Slide, Standing,
};
use cache::{Content, Survey, TierError};
use coherence::fence::Gap;
use coherence::{Batch, Clock, Epoch, LeaseToken, Lsn, Subject, Verdict};
use contract::Key;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::check;
use super::film::{self, Mood, Shot, Who};
use super::setup::number_of;
use super::stage::{Failed, PATIENCE, Peer, Stage};
use super::trace::What;

/// How many messages a node may be behind.
const BACKLOG: usize = 256;

/// The server's process and its disk.
pub(super) struct Server {
    clock: Arc<dyn Clock>,
    bytes: u64,
    memory: Arc<MemoryTier>,
    pub(super) up: bool,
    saved: Option<MemoryTier>,
    /// Counts what it came back as, so that leases of before are not mistaken for those of now.
    life: u64,
    /// Who loads what, and until when, as far as it was told to them.
    holders: BTreeMap<Key, (LeaseToken, u64)>,
}

impl Server {
    pub(super) fn new(clock: Arc<dyn Clock>, bytes: u64) -> Self {
        let memory = Arc::new(MemoryTier::new(Arc::clone(&clock), bytes));
        Self { clock, bytes, memory, up: true, saved: None, life: 1, holders: BTreeMap::new() }
    }

    /// Writes its state to disk.
    pub(super) fn save(&mut self) {
        self.saved = Some(self.memory.copy());
    }

    /// All of it is gone.
    pub(super) fn flush(&mut self) {
        self.become_another(MemoryTier::new(Arc::clone(&self.clock), self.bytes));
    }

    /// Comes back as it was when it was saved, if ever.
    pub(super) fn roll_back(&mut self) {
        match self.saved.take() {
            Some(saved) => self.become_another(saved),
            None => self.flush(),
        }
    }

    /// Restarts with what it had.
    pub(super) fn restart(&mut self) {
        let same = self.memory.copy();
        self.become_another(same);
    }

    pub(super) fn become_another(&mut self, memory: MemoryTier) {
        self.memory = Arc::new(memory);
        self.life += 1;
        self.holders.clear();
    }

    /// The key's present holder at `now`.
    fn holder(&self, key: &Key, now: u64) -> Option<LeaseToken> {
        self.holders.get(key).filter(|(_, until)| *until > now).map(|(holder, _)| *holder)
    }

    fn hold(&mut self, key: &Key, holder: LeaseToken, now: u64, ttl: Duration) {
        self.holders.insert(key.clone(), (holder, now + check::nanos(ttl)));
    }

    fn let_go(&mut self, key: &Key, holder: LeaseToken) {
        if self.holders.get(key).is_some_and(|(held_by, _)| *held_by == holder) {
            self.holders.remove(key);
        }
    }

    pub(super) fn memory(&self) -> Arc<MemoryTier> {
        Arc::clone(&self.memory)
    }
}

/// A node's way to the server.
#[derive(Clone)]
pub(super) struct Remote {
    pub(super) stage: Arc<Stage>,
    pub(super) node: usize,
    pub(super) life: u64,
}

fn failed(failed: Failed) -> TierError {
    match failed {
        Failed::Refused => TierError::Unavailable("cut off".into()),
        Failed::Silent => TierError::Timeout(PATIENCE),
    }
}

/// A lease's name for the outside; those of an earlier life mean nothing.
fn outside(life: u64, lease: LeaseToken) -> LeaseToken {
    LeaseToken(life << 32 | lease.0)
}

fn inside(life: u64, lease: LeaseToken) -> LeaseToken {
    if lease.0 >> 32 == life {
        LeaseToken(lease.0 & u64::from(u32::MAX))
    } else {
        LeaseToken(u64::MAX)
    }
}

impl Remote {
    /// A question and its answer. Now and then the caller has given up when the question arrives.
    async fn call<T, F>(
        &self,
        name: &'static str,
        step: impl FnOnce(Arc<MemoryTier>, u64) -> F + Send + 'static,
    ) -> Result<T, TierError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, TierError>> + Send + 'static,
    {
        self.stage.way(self.node, self.life, Peer::Shared).await.map_err(failed)?;
        let late = {
            let share = self.stage.weather.lock().lost_answers;
            self.stage.chance(share / 2.0)
        };
        if late {
            let this = self.clone();
            let (done, answer) = oneshot::channel();
            tokio::spawn(async move {
                sleep(this.stage.millis(30, 1_500)).await;
                let _ = done.send(this.step(name, step).await);
            });
            let lost = Err(TierError::Timeout(PATIENCE));
            return match timeout(PATIENCE, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) | Err(_) => lost,
            };
        }
        let answer = self.step(name, step).await?;
        let lost = self.stage.weather.lock().lost_answers;
        if self.stage.chance(lost) {
            sleep(PATIENCE).await;
            return Err(TierError::Timeout(PATIENCE));
        }
        self.stage.way(self.node, self.life, Peer::Shared).await.map_err(failed)?;
        Ok(answer)
    }

    /// A question that left at that time, was answered, and whose answer has arrived just now.
    fn filmed(
        &self,
        [left, turned]: [u64; 2],
        question: impl FnOnce() -> String,
        answer: impl FnOnce() -> (String, Mood),
    ) {
        let (film, who) = (&self.stage.film, [Who::Node(self.node), Who::Shared]);
        film.dialogue(who, [left, turned, self.stage.now()], question, answer);
    }

    async fn step<T, F>(
        &self,
        name: &'static str,
        step: impl FnOnce(Arc<MemoryTier>, u64) -> F,
    ) -> Result<T, TierError>
    where
        F: Future<Output = Result<T, TierError>>,
    {
        let (memory, life) = {
            let server = self.stage.server.lock();
            if !server.up {
                return Err(TierError::Unavailable("down".into()));
            }
            (server.memory(), server.life)
        };
        self.stage.note(Some(self.node), What::Shared(name, life));
        // The embedded tier never waits, so this is one step.
        step(memory, life).await
    }

    /// The node stream as the Redis tier gives it: whatever breaks it, `Lost` comes first.
    async fn forward(self, messages: mpsc::Sender<NodeMessage>) {
        loop {
            if self.stage.way(self.node, self.life, Peer::Shared).await.is_err() {
                sleep(self.stage.millis(10, 500)).await;
                continue;
            }
            let subscribed = {
                let server = self.stage.server.lock();
                server.up.then(|| server.memory().subscribe())
            };
            let Some(mut stream) = subscribed else {
                sleep(self.stage.millis(10, 500)).await;
                continue;
            };
            if !self.give_on(&messages, NodeMessage::Lost).await {
                return;
            }
            loop {
                let message = tokio::select! {
                    biased;
                    () = messages.closed() => return,
                    message = stream.recv() => message,
                };
                let Some(message) = message else { break };
                let left = self.stage.now();
                sleep(self.stage.millis(0, 4)).await;
                self.reachable().await;
                if std::mem::take(&mut self.stage.weather.lock().break_stream[self.node]) {
                    break;
                }
                let mut next = Some(message);
                while let Some(message) = next {
                    self.arrives(&message, left);
                    if !self.give_on(&messages, message).await {
                        return;
                    }
                    next = stream.try_recv().ok();
                }
            }
            // A broken stream is noticed within one heartbeat.
            sleep(self.stage.millis(1, 1_000)).await;
        }
    }

    fn arrives(&self, message: &NodeMessage, left: u64) {
        let NodeMessage::Batch(batch) = message else { return };
        if batch.events.is_empty() {
            return;
        }
        self.stage.film.shoot(|| {
            let (from, to, arrived) = (Who::Shared, Who::Node(self.node), self.stage.now());
            Shot::Said { from, to, left, arrived, text: film::piece(batch), mood: Mood::Plain }
        });
    }

    async fn reachable(&self) {
        self.stage.awake(self.node, self.life).await;
        while self.stage.weather.lock().cut_shared[self.node] {
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn give_on(&self, messages: &mpsc::Sender<NodeMessage>, message: NodeMessage) -> bool {
        let (name, upto) = match &message {
            NodeMessage::Batch(batch) => ("batch", batch.upto.0),
            NodeMessage::Evict(_) => ("evict", 0),
            NodeMessage::Lost => ("lost", 0),
        };
        self.stage.note(Some(self.node), What::Message(name, upto));
        messages.send(message).await.is_ok()
    }
}

impl Remote {
    async fn read_one(
        &self,
        key: &Key,
        slide: Option<Slide>,
        lease: Option<Duration>,
    ) -> Result<SharedRead, TierError> {
        let (stage, key) = (Arc::clone(&self.stage), key.clone());
        let left = stage.now();
        let read = self.call("read", move |memory, life| async move {
            let found = memory.read_using(std::slice::from_ref(&key), &[slide], lease).await?.pop();
            let Some(mut read) = found else { unreachable!("one was asked for") };
            if let Outcome::Lead(granted) = &mut read.outcome {
                *granted = outside(life, *granted);
                let (granted, now) = (*granted, stage.now());
                let mut server = stage.server.lock();
                if let Some(holder) = server.holder(&key, now) {
                    stage.violation(format!(
                        "{key} is to be loaded under {granted:?} while {holder:?} is at it"
                    ));
                }
                server.hold(&key, granted, now, lease.unwrap_or_default());
            }
            if let (Some(Standing { epoch, applied, .. }), Outcome::Found { entry, .. }) =
                (read.standing, &read.outcome)
            {
                let what = "the shared tier's entry";
                check::holds(&stage, what, number_of(&key), &entry.content, epoch, applied);
            }
            Ok((read, stage.now()))
        });
        let (read, turned) = read.await?;
        self.filmed([left, turned], || "read".into(), || film::found(&read));
        Ok(read)
    }
}

#[async_trait]
impl SharedTier for Remote {
    async fn read(&self, key: &Key, lease: Option<Duration>) -> Result<SharedRead, TierError> {
        self.read_one(key, None, lease).await
    }

    async fn read_using(
        &self,
        keys: &[Key],
        slides: &[Option<Slide>],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        let mut reads = Vec::with_capacity(keys.len());
        for (key, slide) in keys.iter().zip(slides) {
            reads.push(self.read_one(key, *slide, lease).await?);
        }
        Ok(reads)
    }

    async fn touch(&self, uses: &[(Key, Slide)]) -> Result<(), TierError> {
        let uses = uses.to_vec();
        self.call("touch", move |memory, _| async move { memory.touch(&uses).await }).await
    }

    async fn inspect(&self, key: &Key) -> Result<SharedRead, TierError> {
        let key = key.clone();
        self.call("inspect", move |memory, _| async move { memory.inspect(&key).await }).await
    }

    async fn fill(&self, fill: &Fill) -> Result<Verdict, TierError> {
        let (stage, mut fill) = (Arc::clone(&self.stage), fill.clone());
        debug_assert!(!matches!(fill.entry.content, Content::Uncacheable));
        let (left, offered) = (stage.now(), fill.entry.clone());
        let call = self.call("fill", move |memory, life| async move {
            let lease = fill.lease;
            fill.lease = lease.map(|lease| inside(life, lease));
            let before = memory.inspect(&fill.key).await?;
            let verdict = memory.fill(&fill).await?;
            if verdict == Verdict::Accept
                && let Outcome::Found { entry, .. } = before.outcome
                && entry.tau > fill.entry.tau
            {
                let (old, new, key) = (entry.tau, fill.entry.tau, &fill.key);
                stage.violation(format!("under {key} version {old} was replaced by {new}"));
            }
            if let Some(lease) = lease {
                let mut server = stage.server.lock();
                let holder = server.holder(&fill.key, stage.now());
                if verdict == Verdict::Accept && holder.is_some_and(|holder| holder != lease) {
                    let key = &fill.key;
                    stage.violation(format!("{key} was stored by {lease:?} past {holder:?}"));
                }
                server.let_go(&fill.key, lease);
            }
            Ok((verdict, stage.now()))
        });
        let (verdict, turned) = call.await?;
        let question = || format!("fill {}, τ={}", film::value(&offered.content), offered.tau.0);
        self.filmed([left, turned], question, || film::kept(verdict));
        Ok(verdict)
    }

    async fn renew(&self, key: &Key, lease: LeaseToken, ttl: Duration) -> Result<bool, TierError> {
        let (stage, key) = (Arc::clone(&self.stage), key.clone());
        self.call("renew", move |memory, life| async move {
            let renewed = memory.renew(&key, inside(life, lease), ttl).await?;
            if renewed {
                let (mut server, now) = (stage.server.lock(), stage.now());
                let holder = server.holder(&key, now);
                if holder.is_some_and(|holder| holder != lease) {
                    stage.violation(format!("{key}: {lease:?} was renewed, held by {holder:?}"));
                }
                server.hold(&key, lease, now, ttl);
            }
            Ok(renewed)
        })
        .await
    }

    async fn release(&self, key: &Key, lease: LeaseToken) -> Result<(), TierError> {
        let (stage, key) = (Arc::clone(&self.stage), key.clone());
        self.call("release", move |memory, life| async move {
            stage.server.lock().let_go(&key, lease);
            memory.release(&key, inside(life, lease)).await
        })
        .await
    }

    async fn apply(&self, batch: &Batch) -> Result<Result<(), Gap>, TierError> {
        let (stage, told, left) = (Arc::clone(&self.stage), batch.clone(), self.stage.now());
        let call = self.call("apply", move |memory, _| async move {
            Ok((memory.apply(&told).await?, stage.now()))
        });
        let (applied, turned) = call.await?;
        self.filmed([left, turned], || film::piece(batch), || film::applied(batch, &applied));
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

    async fn incarnate(&self, epoch: Epoch, at: Lsn, watermark: Lsn) -> Result<(), TierError> {
        let (stage, left) = (Arc::clone(&self.stage), self.stage.now());
        let call = self.call("incarnate", move |memory, _| async move {
            stage.server.lock().holders.clear();
            memory.incarnate(epoch, at, watermark).await?;
            Ok(stage.now())
        });
        let turned = call.await?;
        let begun = || ("everything else is void".into(), Mood::Plain);
        self.filmed([left, turned], || format!("new epoch at {}", at.0), begun);
        Ok(())
    }

    async fn standing(&self) -> Result<Option<Standing>, TierError> {
        self.call("standing", |memory, _| async move { memory.standing().await }).await
    }

    async fn collect(&self, upto: Lsn) -> Result<u64, TierError> {
        self.call("collect", move |memory, _| async move { memory.collect(upto).await }).await
    }

    fn subscribe(&self) -> mpsc::Receiver<NodeMessage> {
        let (messages, receiver) = mpsc::channel(BACKLOG);
        tokio::spawn(self.clone().forward(messages));
        receiver
    }
}
