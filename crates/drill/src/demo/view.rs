//! The live view of a run: on a terminal, a screen that is redrawn four times a second; elsewhere, a
//! line every few seconds. It is written to standard error, so that standard output stays free for
//! the report.

mod frame;
mod history;
mod live_view;
mod screen;
mod svg;

pub use frame::Frame;
pub use history::Link;
pub use live_view::LiveView;

#[cfg(test)]
mod tests;
