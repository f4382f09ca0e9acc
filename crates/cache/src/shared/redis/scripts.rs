//! The scripts. Each is one atomic step in Redis and touches keys of one bucket only.

use redis::{Cmd, Script};
use redis_transport::ScriptSet;

macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(include_str!("lua/prelude.lua"), "\n", include_str!($file)))
    };
}

/// The commands that the scripts run. A test compares them with the scripts.
const COMMANDS: [&str; 25] = [
    "get",
    "getrange",
    "hdel",
    "hget",
    "hincrby",
    "hmget",
    "hset",
    "pexpire",
    "pttl",
    "set",
    "setrange",
    "strlen",
    "time",
    "unlink",
    "xadd",
    "xrange",
    "xrevrange",
    "zadd",
    "zcard",
    "zcount",
    "zmscore",
    "zpopmin",
    "zrange",
    "zremrangebyrank",
    "zscore",
];

/// The oldest Redis with `ZMSCORE` and with `GT` for `ZADD`.
const MIN_VERSION: (u32, u32) = (6, 2);

/// All scripts, with their hashes. They are called by hash, and loaded again if Redis has lost them.
pub(super) struct Scripts {
    pub(super) read: Script,
    pub(super) touch: Script,
    pub(super) fill: Script,
    pub(super) renew: Script,
    pub(super) release: Script,
    pub(super) apply: Script,
    pub(super) evict: Script,
    pub(super) survey: Script,
    pub(super) reset_epoch: Script,
    pub(super) lead: Script,
    pub(super) cover: Script,
    pub(super) leadership: Script,
    pub(super) repair: Script,
    pub(super) tier_position: Script,
    pub(super) schema: Script,
    pub(super) collect: Script,
    pub(super) stream_position: Script,
    pub(super) announce: Script,
    rehearse: Script,
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
            reset_epoch: script!("lua/reset_epoch.lua"),
            lead: script!("lua/lead.lua"),
            cover: script!("lua/cover.lua"),
            leadership: script!("lua/leadership.lua"),
            repair: script!("lua/repair.lua"),
            tier_position: script!("lua/tier_position.lua"),
            schema: script!("lua/schema.lua"),
            collect: script!("lua/collect.lua"),
            stream_position: script!("lua/stream_position.lua"),
            announce: script!("lua/announce.lua"),
            rehearse: script!("lua/rehearse.lua"),
        }
    }
}

impl ScriptSet for Scripts {
    fn scripts(&self) -> Vec<&Script> {
        vec![
            &self.read,
            &self.touch,
            &self.fill,
            &self.renew,
            &self.release,
            &self.apply,
            &self.evict,
            &self.survey,
            &self.reset_epoch,
            &self.lead,
            &self.cover,
            &self.leadership,
            &self.repair,
            &self.tier_position,
            &self.schema,
            &self.collect,
            &self.stream_position,
            &self.announce,
        ]
    }

    fn rehearsal(&self) -> &Script {
        &self.rehearse
    }

    fn script_commands(&self) -> &[&str] {
        &COMMANDS
    }

    fn direct_commands(&self, key: &str) -> Vec<(&'static str, Cmd)> {
        let command = |words: &[&str]| {
            let mut command = Cmd::new();
            command.arg(words);
            command
        };
        vec![("scan", command(&["SCAN", "0"])), ("xread", command(&["XREAD", "STREAMS", key, "0"]))]
    }

    fn min_version(&self) -> (u32, u32) {
        MIN_VERSION
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use redis_transport::acl::AclUser;

    use super::super::key_names::KeyNames;
    use super::*;

    /// Returns the commands that a script's text runs.
    fn commands(text: &str) -> BTreeSet<String> {
        let calls = ["redis.call('", "redis.pcall('", "on('", "try('", "if_room('"];
        let after = calls.iter().flat_map(|call| text.split(call).skip(1));
        let names = after.filter_map(|rest| rest.split('\'').next());
        names.map(str::to_lowercase).collect()
    }

    #[test]
    fn every_command_is_granted_and_rehearsed() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/shared/redis/lua");
        let (mut run, mut rehearsed) = (BTreeSet::new(), BTreeSet::new());
        for file in std::fs::read_dir(folder).expect("the scripts") {
            let path = file.expect("a script").path();
            let found = commands(&std::fs::read_to_string(&path).expect("its text"));
            if path.ends_with("rehearse.lua") {
                rehearsed = found;
            } else {
                run.extend(found);
            }
        }
        let granted: BTreeSet<String> = COMMANDS.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(run, granted);
        assert_eq!(rehearsed, granted);
    }

    #[test]
    fn manual_names_the_same_rights() {
        let page = include_str!("../../../../../docs/shared-tier.md");
        let (names, scripts) = (KeyNames::new("tg:0"), Scripts::new());
        let user = AclUser { name: "tidegate", key_pattern: &names.acl_pattern, scripts: &scripts };
        let rule = user.rule();
        let (_, commands) = rule.split_once(" +").expect("commands");
        let page = page.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(page.contains(&format!("+{commands}")), "+{commands}");
        assert!(page.contains(&names.acl_pattern));
    }
}
