//! The allocator of the process.
//!
//! jemalloc gives the memory of removed entries back to the system, from a thread of its own; the C library keeps it
//! (decision 67). Without the feature `jemalloc` the C library allocates.

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
