//! A model of a database server that is demoted and goes on answering, small enough to explore every sequence of
//! steps: the address leads to the promoted server, and connections that were open before stay with the old one, which
//! still answers, and misses all later commits. The promoted server may lack the last commit of the old one, so that
//! its log has other commits at the same positions.
//!
//! A node has three connections: of its samples, its feed and its loads. As soon as one of them leads to the promoted
//! server, nothing that the old one says from then on may be proven or stored. Until then no rule of the node can tell
//! the two apart.

use coherence::bound::is_of_log;
use coherence::{
    Batch, Bound, Cause, CoverageDigest, Epoch, Event, Fence, Log, Lsn, Mono, Offer, Rule, Subject,
    Verdict, rules,
};
use stateright::{Model, Property};

use crate::model::keys::key;

/// The invariant: what is proven from then on is true.
pub const PROVEN: &str =
    "no proof of after the first connection to the promoted server misses a commit";
/// The check that the model is not vacuous.
pub const USEFUL: &str = "an entry of the promoted server is proven after a commit there";

/// The switch of the model's own composition: connections to another server than the newest one are replaced before
/// their next use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Omitted {
    /// A rule of [`coherence`].
    Rule(Rule),
    /// The newest connection decides which server the others have to lead to.
    NewestConnectionDecides,
}

/// A scene: the limits of a run.
#[derive(Clone, Debug)]
pub struct DemotedScene {
    /// The number of commits on both servers together.
    pub commits: u64,
    /// How often a row may be loaded.
    pub loads: u8,
    /// The omitted switch.
    pub omitted: Option<Omitted>,
}

/// A connection of the node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Connection {
    /// Samples of the log's end.
    Samples,
    /// The feed.
    Feed,
    /// Loads.
    Loads,
}

const CONNECTIONS: [Connection; 3] = [Connection::Samples, Connection::Feed, Connection::Loads];

/// A server: the old one or the promoted one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Server {
    Old,
    Promoted,
}

/// The state of the model. The time is the number of commits on the server that the address leads to, and a row's
/// value is the time of the last commit in it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    time: u64,
    /// When the other server was promoted, and whether it lacks the commit before.
    promoted: Option<(u64, bool)>,
    /// The servers that the connections lead to.
    leads_to: [Server; 3],
    /// When the node first connected to the promoted server.
    known: Option<u64>,
    fence: Fence,
    bound: Bound,
    loads: u8,
    /// The load in flight: epoch and τ, the server that it reads from, and the value that it has read.
    load: Option<(Epoch, Lsn, Server, Option<u64>)>,
    /// The stored value and its τ.
    stored: Option<(u64, Lsn)>,
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A commit on the server that the address leads to.
    Write,
    /// The other server is promoted, and the address leads to it.
    Promote {
        /// Whether it lacks the last commit.
        lacks_commit: bool,
    },
    /// A connection is opened again.
    Reconnect(Connection),
    /// The end of the log is sampled.
    Sample,
    /// The feed delivers the next commit, or begins another log.
    Follow,
    /// A read misses, and begins a load.
    Begin,
    /// The load reads the row.
    Read,
    /// The load's value is offered to the tier.
    End,
}

fn log(server: Server) -> Log {
    let timeline = if server == Server::Old { 1 } else { 2 };
    Log { system: 1, timeline, server: u64::from(timeline) }
}

fn epoch(server: Server) -> Epoch {
    let Log { system, timeline, server } = log(server);
    Epoch { system, timeline, server, incarnation: 1 }
}

impl World {
    /// Returns the value of the row on a server, and the end of its log.
    fn state_of(&self, server: Server) -> (u64, Lsn) {
        match (server, self.promoted) {
            (Server::Old, Some((at, _))) => (at, Lsn(at)),
            (Server::Promoted, Some((at, lacks_commit))) => {
                let lacking = u64::from(lacks_commit);
                let value = if self.time == at { at - lacking } else { self.time };
                (value, Lsn(self.time - lacking))
            }
            (_, None) => (self.time, Lsn(self.time)),
        }
    }

    fn reconnect(&mut self, connection: Connection) {
        let server = if self.promoted.is_some() { Server::Promoted } else { Server::Old };
        self.leads_to[connection as usize] = server;
        if server == Server::Promoted {
            self.known.get_or_insert(self.time);
        }
    }

    /// Returns the server that the connection leads to when it is used.
    fn server_of(&mut self, connection: Connection, omitted: Option<Omitted>) -> Server {
        if self.known.is_some() && omitted != Some(Omitted::NewestConnectionDecides) {
            self.reconnect(connection);
        }
        self.leads_to[connection as usize]
    }

    fn follow(&mut self, server: Server) {
        let (_, end) = self.state_of(server);
        if self.fence.epoch() != Some(epoch(server)) {
            self.fence.reset_epoch(epoch(server), end, end);
            self.stored = None;
            return;
        }
        let prev = self.fence.applied();
        if prev >= end {
            return;
        }
        let upto = Lsn(prev.0 + 1);
        let event = Event {
            lsn: upto,
            cause: Cause::Commit,
            committed_us: 0,
            subjects: vec![Subject::Key(key(0).clone())],
            renewals: Vec::new(),
        };
        let (watermark, coverage) = (upto, CoverageDigest::NONE);
        let events = vec![event];
        let batch = Batch { epoch: epoch(server), prev, upto, watermark, coverage, events };
        self.fence.apply(&batch).expect("no batch is lost in this model");
        self.stored = self.stored.filter(|(_, tau)| self.fence.stands(key(0), &[], *tau));
    }

    fn take(&mut self, step: Step, omitted: Option<Omitted>) {
        match step {
            Step::Write => self.time += 1,
            Step::Promote { lacks_commit } => self.promoted = Some((self.time, lacks_commit)),
            Step::Reconnect(connection) => self.reconnect(connection),
            Step::Sample => {
                let server = self.server_of(Connection::Samples, omitted);
                let (_, end) = self.state_of(server);
                self.bound.sample_of(log(server), Mono(self.time), end);
            }
            Step::Follow => {
                let server = self.server_of(Connection::Feed, omitted);
                self.follow(server);
            }
            Step::Begin => {
                let Some(epoch) = self.fence.epoch() else { return };
                self.loads -= 1;
                let server = self.server_of(Connection::Loads, omitted);
                self.load = Some((epoch, self.fence.watermark(), server, None));
            }
            Step::Read => {
                if let Some((.., server, _)) = self.load {
                    let value = Some(self.state_of(server).0);
                    self.load =
                        self.load.map(|(epoch, tau, server, _)| (epoch, tau, server, value));
                }
            }
            Step::End => {
                let Some((epoch, tau, server, Some(value))) = self.load.take() else { return };
                let stored = self.stored.map(|(_, tau)| tau);
                let offer = Offer { key: key(0), tags: &[], tau, epoch, stored };
                let is_own = is_of_log(epoch, Some(log(server).into()));
                if is_own && self.fence.admit(offer) == Verdict::Accept {
                    self.stored = Some((value, tau));
                }
            }
        }
    }

    /// Returns the value in the tier, and the time as of which it is proven.
    fn proven(&self) -> Option<(u64, u64)> {
        let (value, _) = self.stored?;
        let epoch = self.fence.epoch()?;
        let Mono(as_of) = self.bound.proven_of(epoch.log(), self.fence.applied())?;
        Some((value, as_of))
    }

    /// Whether what is proven is true, as far as it was proven after the promoted server was known.
    fn is_true(&self) -> bool {
        let Some(((value, as_of), known)) = self.proven().zip(self.known) else { return true };
        as_of <= known || value >= as_of
    }
}

impl Model for DemotedScene {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            time: 0,
            promoted: None,
            leads_to: [Server::Old; 3],
            known: None,
            fence: Fence::default(),
            bound: Bound::new(4),
            loads: self.loads,
            load: None,
            stored: None,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let mut when = |possible: bool, step: Step| {
            if possible {
                steps.push(step);
            }
        };
        when(world.time < self.commits, Step::Write);
        let is_first = world.promoted.is_none();
        when(is_first, Step::Promote { lacks_commit: false });
        when(is_first && world.time > 0, Step::Promote { lacks_commit: true });
        for connection in CONNECTIONS {
            let is_old = world.leads_to[connection as usize] == Server::Old;
            when(!is_first && is_old, Step::Reconnect(connection));
        }
        when(true, Step::Sample);
        when(true, Step::Follow);
        match world.load {
            None => when(world.loads > 0 && world.fence.epoch().is_some(), Step::Begin),
            Some((.., None)) => when(true, Step::Read),
            Some((.., Some(_))) => when(true, Step::End),
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        let rule = match self.omitted {
            Some(Omitted::Rule(rule)) => Some(rule),
            _ => None,
        };
        rules::without(rule, || next.take(step, self.omitted));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(PROVEN, |scene: &Self, world: &World| {
                let rule = match scene.omitted {
                    Some(Omitted::Rule(rule)) => Some(rule),
                    _ => None,
                };
                rules::without(rule, || world.is_true())
            }),
            Property::sometimes(USEFUL, |_: &Self, world: &World| {
                let at = world.promoted.map_or(u64::MAX, |(at, _)| at);
                world.proven().is_some_and(|(value, as_of)| value > at && as_of > at)
            }),
        ]
    }
}
