//! The scripts: each is one atomic step in Redis and touches keys of one bucket only.

use redis::Script;

macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(include_str!("lua/prelude.lua"), "\n", include_str!($file)))
    };
}

/// All of them, with their hashes: they are called by hash and loaded where Redis has lost them.
pub(super) struct Scripts {
    pub(super) read: Script,
    pub(super) touch: Script,
    pub(super) fill: Script,
    pub(super) renew: Script,
    pub(super) release: Script,
    pub(super) apply: Script,
    pub(super) evict: Script,
    pub(super) survey: Script,
    pub(super) incarnate: Script,
    pub(super) mend: Script,
    pub(super) standing: Script,
    pub(super) collect: Script,
    pub(super) position: Script,
    /// Run once per connection, so not among [`all`](Self::all).
    pub(super) rehearse: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            read: script!("lua/read.lua"),
            touch: script!("lua/touch.lua"),
            fill: script!("lua/fill.lua"),
            renew: script!("lua/renew.lua"),
            release: script!("lua/release.lua"),
            apply: script!("lua/apply.lua"),
            evict: script!("lua/evict.lua"),
            survey: script!("lua/survey.lua"),
            incarnate: script!("lua/incarnate.lua"),
            mend: script!("lua/mend.lua"),
            standing: script!("lua/standing.lua"),
            collect: script!("lua/collect.lua"),
            position: script!("lua/position.lua"),
            rehearse: script!("lua/rehearse.lua"),
        }
    }

    pub(super) fn all(&self) -> [&Script; 13] {
        [
            &self.read,
            &self.touch,
            &self.fill,
            &self.renew,
            &self.release,
            &self.apply,
            &self.evict,
            &self.survey,
            &self.incarnate,
            &self.mend,
            &self.standing,
            &self.collect,
            &self.position,
        ]
    }
}
