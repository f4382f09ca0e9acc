//! What an ACL user may do, and what it has to.

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use super::super::TierError;
use super::cluster;
use super::line::CONNECT;
use super::names::Names;
use super::reply::{Reply, failed};
use super::scripts::Scripts;

/// What is run beside the scripts' own commands.
const AROUND: [&str; 5] = ["evalsha", "info", "scan", "script|load", "xread"];

/// What the scripts run; a test compares.
const WITHIN: [&str; 25] = [
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

/// A user and the keys it works on.
pub(super) struct Rights<'a> {
    pub(super) user: &'a str,
    pub(super) names: &'a Names,
}

impl Rights<'_> {
    /// Tries everything that will be needed on a key that means nothing.
    ///
    /// # Errors
    /// [`TierError::Unsuitable`] with all that is missing and the line that mends it.
    pub(super) async fn rehearse(
        &self,
        connection: &mut MultiplexedConnection,
        scripts: &Scripts,
    ) -> Result<(), TierError> {
        let mut call = scripts.rehearse.prepare_invoke();
        let rehearsed = call.key(&self.names.rehearsal).invoke_async(connection).await;
        let rehearsed = match rehearsed {
            // The bucket is on its way to another shard. Rights have been tried before.
            Err(err) if cluster::elsewhere(&err) => return Ok(()),
            rehearsed => rehearsed.map_err(|err| self.failed(&err))?,
        };
        let (_, mut reply) = Reply::open(rehearsed)?;
        let mut missing = Vec::new();
        while !reply.is_over() {
            missing.push(reply.text()?);
        }
        let key = self.names.rehearsal.as_str();
        for words in [&["SCAN", "0"][..], &["XREAD", "STREAMS", key, "0"]] {
            let mut command = redis::Cmd::new();
            command.arg(words);
            if let Err(err) = command.query_async::<Value>(connection).await
                && is_refused(&err)
            {
                missing.push(words[0].to_lowercase());
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(self.lacks(&missing)) }
    }

    /// What went wrong with one of the first calls over a connection.
    pub(super) fn failed(&self, err: &RedisError) -> TierError {
        if !is_refused(err) {
            return failed(err, CONNECT);
        }
        TierError::Unsuitable(format!(
            "its user {:?} may not do what is needed ({err}); run `{}` and keep it with `ACL SAVE` or \
             `CONFIG REWRITE`",
            self.user,
            self.whole()
        ))
    }

    pub(super) fn lacks(&self, missing: &[String]) -> TierError {
        TierError::Unsuitable(format!(
            "its user {:?} may not run {}; run `ACL SETUSER {} +{}` and keep it with `ACL SAVE` or \
             `CONFIG REWRITE`",
            self.user,
            missing.join(", "),
            self.user,
            missing.join(" +")
        ))
    }

    /// All that the user has to have.
    fn whole(&self) -> String {
        let mut line = format!("ACL SETUSER {} {}", self.user, self.names.pattern);
        AROUND.iter().chain(&WITHIN).for_each(|command| line.extend([" +", command]));
        line
    }
}

pub(super) fn is_refused(err: &RedisError) -> bool {
    err.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The commands that a script's text runs.
    fn commands(text: &str) -> BTreeSet<String> {
        let calls = ["redis.call('", "redis.pcall('", "on('", "try('"];
        let after = calls.iter().flat_map(|call| text.split(call).skip(1));
        let names = after.filter_map(|rest| rest.split('\'').next());
        names.map(str::to_lowercase).collect()
    }

    #[test]
    fn the_user_gets_what_the_scripts_run_and_each_of_it_is_rehearsed() {
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
        let given: BTreeSet<String> = WITHIN.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(run, given);
        assert_eq!(rehearsed, given);
    }

    #[test]
    fn the_manual_names_the_same_rights() {
        let page = include_str!("../../../../../docs/shared-tier.md");
        let rights = Rights { user: "tidegate", names: &Names::new("tg:0") };
        let whole = rights.whole();
        let (_, commands) = whole.split_once(" +").expect("commands");
        let page = page.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(page.contains(&format!("+{commands}")), "+{commands}");
        assert!(page.contains(&rights.names.pattern));
    }
}
