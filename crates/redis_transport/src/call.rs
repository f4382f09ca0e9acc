//! Calls of scripts and commands.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, ScriptInvocation, Value};

/// A call. All of its keys have to be in one [bucket](crate::Bucket).
#[derive(Clone, Copy)]
pub enum Call<'a> {
    /// A script with its keys and arguments.
    Script(&'a ScriptInvocation<'a>),
    /// A command.
    Command(&'a Cmd),
}

impl Call<'_> {
    pub(crate) async fn run(self, connection: &mut MultiplexedConnection) -> RedisResult<Value> {
        match self {
            Self::Script(call) => call.invoke_async(connection).await,
            Self::Command(call) => call.query_async(connection).await,
        }
    }

    /// Runs the call on a node that is importing the slot.
    pub(crate) async fn run_asking(
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
