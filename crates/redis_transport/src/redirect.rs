//! Replies that redirect a call to another node of a cluster.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Returns the kind of an error that the server replied with.
pub(crate) fn server_error(err: &RedisError) -> Option<ServerErrorKind> {
    match err.kind() {
        ErrorKind::Server(kind) => Some(kind),
        _ => None,
    }
}

/// Whether an error only tells that the slot is on another node, or is being moved.
pub(crate) fn is_redirect(err: &RedisError) -> bool {
    matches!(
        server_error(err),
        Some(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::TryAgain)
    )
}
