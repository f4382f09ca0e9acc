//! A read: the proof of an answer, and the requirements that a reader sets.

pub mod atomic;
pub mod bound;
pub mod causal_token;
pub mod causal_tokens;
pub mod database_clock;
pub mod joint;
pub mod sample_pace;
pub mod standby;
