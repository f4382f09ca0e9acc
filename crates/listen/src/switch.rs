//! A value that connections read for each request, and that a reload replaces.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// The value that serves now. Clones share it.
///
/// A connection keeps the switch and no value of it, so a request that arrives on an old connection is served by the
/// value of its own time, and a replaced value is freed when its last request has ended. Reading takes no lock and
/// writes to no memory that threads share: it is on the path of every hit.
pub struct Switch<T>(Arc<ArcSwap<T>>);

impl<T> Switch<T> {
    /// Creates a switch that stands on `value`.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// Calls `read` with the present value.
    pub fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.0.load())
    }

    /// Replaces the value for all requests that arrive from now on.
    pub fn set(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

impl<T: Clone> Switch<T> {
    /// Returns a clone of the present value.
    #[must_use]
    pub fn get(&self) -> T {
        self.with(T::clone)
    }
}

impl<T> Clone for Switch<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Switch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Switch")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_value_freed_and_seen_by_clones() {
        let (first, second) = (Arc::new(1), Arc::new(2));
        let switch = Switch::new(Arc::clone(&first));
        let other = switch.clone();
        switch.set(Arc::clone(&second));
        assert_eq!(*other.get(), 2);
        assert_eq!(Arc::strong_count(&first), 1);
    }
}
