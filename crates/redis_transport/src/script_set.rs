//! The scripts and commands of a user of the transport.

use redis::{Cmd, Script};

/// The scripts that a user of the transport calls, and the commands that need rights.
pub trait ScriptSet: Send + Sync + 'static {
    /// Returns the scripts. They are loaded on each new connection and called by their hash.
    fn scripts(&self) -> Vec<&Script>;

    /// Returns a script that tries each of [`script_commands`](Self::script_commands) on its one key, and
    /// removes that key. Its reply is an array: each string in it is the name of a command that the user may
    /// not run. It runs once per connection.
    fn rehearsal(&self) -> &Script;

    /// Returns the commands that the scripts run, in lower case, in the order of the ACL rule.
    fn script_commands(&self) -> &[&str];

    /// Returns the commands that are sent outside of scripts: the name of each in lower case, with a harmless
    /// call on `key`.
    fn direct_commands(&self, key: &str) -> Vec<(&'static str, Cmd)>;

    /// Returns the oldest version of Redis that has these commands, as major and minor number.
    fn min_version(&self) -> (u32, u32);
}
