//! The stream: which part of the commit log the tiers have received, and what is visible of it.

pub mod applied_schema;
pub mod binlog_relay;
pub mod cursor;
pub mod gtid;
pub mod high_water_mark;
pub mod relay;
pub mod replay_buffer;
pub mod resume;
pub mod watermark;
pub mod watermark_history;
