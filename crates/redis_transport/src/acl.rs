//! The rights of the ACL user: which it needs, and which are missing.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use crate::error::TransportError;
use crate::redirect::is_redirect;
use crate::script_set::ScriptSet;
use crate::timeout::CONNECT_TIMEOUT;

/// The commands that the transport itself sends.
const TRANSPORT_COMMANDS: [&str; 3] = ["evalsha", "info", "script|load"];

/// An ACL user with the keys and scripts that it needs rights for.
pub struct AclUser<'a> {
    /// The user's name.
    pub name: &'a str,
    /// The keys, as an ACL rule names them: `~{prefix:*`.
    pub key_pattern: &'a str,
    /// The scripts.
    pub scripts: &'a dyn ScriptSet,
}

impl AclUser<'_> {
    /// Returns the command that gives the user all rights that it needs.
    #[must_use]
    pub fn rule(&self) -> String {
        let direct = self.scripts.direct_commands("");
        let mut commands: Vec<&str> = direct.iter().map(|(name, _)| *name).collect();
        commands.extend(TRANSPORT_COMMANDS);
        commands.sort_unstable();
        commands.extend(self.scripts.script_commands());
        let mut rule = format!("ACL SETUSER {} {}", self.name, self.key_pattern);
        commands.into_iter().for_each(|command| rule.extend([" +", command]));
        rule
    }

    /// Tries every command that will be needed on `probe_key`.
    ///
    /// # Errors
    /// [`TransportError::Unsuitable`] names all missing rights, with the command that adds them.
    pub(crate) async fn rehearse(
        &self,
        connection: &mut MultiplexedConnection,
        probe_key: &str,
    ) -> Result<(), TransportError> {
        let mut call = self.scripts.rehearsal().prepare_invoke();
        let refused = match call.key(probe_key).invoke_async(connection).await {
            // The bucket is being moved to another shard. The rights were tried before.
            Err(err) if is_redirect(&err) => return Ok(()),
            reply => reply.map_err(|err| self.explain(&err))?,
        };
        let mut missing = strings(refused)?;
        for (name, call) in self.scripts.direct_commands(probe_key) {
            if is_refused_call(&call, connection).await {
                missing.push(name.to_owned());
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(self.lacks(&missing)) }
    }

    /// Classifies an error of one of the first calls on a connection.
    pub(crate) fn explain(&self, err: &RedisError) -> TransportError {
        if !is_refused(err) {
            return TransportError::from_redis(err, CONNECT_TIMEOUT);
        }
        TransportError::Unsuitable(format!(
            "its user {:?} lacks rights ({err}); run `{}` and keep it with `ACL SAVE` or \
             `CONFIG REWRITE`",
            self.name,
            self.rule()
        ))
    }

    pub(crate) fn lacks(&self, missing: &[String]) -> TransportError {
        TransportError::Unsuitable(format!(
            "its user {:?} may not run {}; run `ACL SETUSER {} +{}` and keep it with `ACL SAVE` or \
             `CONFIG REWRITE`",
            self.name,
            missing.join(", "),
            self.name,
            missing.join(" +")
        ))
    }
}

/// Whether the server refused a call because the user lacks the right.
pub(crate) fn is_refused(err: &RedisError) -> bool {
    err.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
}

async fn is_refused_call(call: &Cmd, connection: &mut MultiplexedConnection) -> bool {
    let reply = call.query_async::<Value>(connection).await;
    reply.is_err_and(|err| is_refused(&err))
}

/// Returns the strings of a rehearsal's reply.
fn strings(reply: Value) -> Result<Vec<String>, TransportError> {
    let malformed = || TransportError::Malformed("the rehearsal's reply is no array".to_owned());
    let Value::Array(words) = reply else { return Err(malformed()) };
    let text = |word| match word {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    };
    Ok(words.into_iter().filter_map(text).collect())
}

#[cfg(test)]
mod tests {
    use redis::Script;

    use super::*;

    struct Counter(Script);

    impl ScriptSet for Counter {
        fn scripts(&self) -> Vec<&Script> {
            vec![&self.0]
        }

        fn rehearsal(&self) -> &Script {
            &self.0
        }

        fn script_commands(&self) -> &[&str] {
            &["incr", "pexpire"]
        }

        fn direct_commands(&self, key: &str) -> Vec<(&'static str, Cmd)> {
            vec![("get", Cmd::get(key))]
        }

        fn min_version(&self) -> (u32, u32) {
            (6, 2)
        }
    }

    #[test]
    fn rule_lists_keys_and_commands() {
        let scripts = Counter(Script::new("return 1"));
        let user = AclUser { name: "shop", key_pattern: "~{n:*", scripts: &scripts };
        let rule = "ACL SETUSER shop ~{n:* +evalsha +get +info +script|load +incr +pexpire";
        assert_eq!(user.rule(), rule);
    }

    #[test]
    fn rehearsal_reply_yields_its_strings() {
        let word = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let reply = Value::Array(vec![Value::Int(0), word("zadd"), word("time")]);
        assert_eq!(strings(reply).expect("an array"), ["zadd", "time"]);
        assert!(strings(Value::Nil).is_err());
    }
}
