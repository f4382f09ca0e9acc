//! The thread that draws the view.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::frame::{Frame, compose, plain_line};
use super::history::{History, Link};
use super::screen::Screen;
use crate::clock::now;
use crate::demo::live::Live;

/// Displays a run until it is closed.
pub struct LiveView {
    close: Sender<()>,
    thread: JoinHandle<Frame>,
    quit: Option<oneshot::Receiver<()>>,
}

const REDRAW: Duration = Duration::from_millis(250);
const PLAIN_LINE: Duration = Duration::from_secs(5);

impl LiveView {
    /// Starts to display `live`. The terminal is restored when the view is closed, and also when
    /// the program panics.
    ///
    /// # Errors
    /// The thread could not be created.
    pub fn start(title: &str, live: Arc<Live>, links: Vec<Link>) -> std::io::Result<Self> {
        let (close, closed) = channel();
        let (ask, quit) = oneshot::channel();
        let title = title.to_owned();
        let thread = std::thread::Builder::new().name("drill-view".into()).spawn(move || {
            let mut history = History { title, links, snapshots: Vec::new() };
            let mut screen = stderr().is_terminal().then(Screen::open).and_then(Result::ok);
            let mut line_due = now() + PLAIN_LINE;
            let mut ask = Some(ask);
            loop {
                history.add(live.snapshot());
                let frame = compose(&history);
                match &mut screen {
                    // A terminal that cannot be written to does not end the run.
                    Some(screen) => {
                        let _ = screen.draw(&frame);
                        if screen.quit_pressed() {
                            ask.take().map(|ask| ask.send(()));
                        }
                    }
                    None if now() >= line_due => {
                        line_due += PLAIN_LINE;
                        let _ = writeln!(stderr(), "{}", plain_line(&history));
                    }
                    None => {}
                }
                match closed.recv_timeout(REDRAW) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                        // The final state, for the returned frame.
                        history.add(live.snapshot());
                        return compose(&history);
                    }
                }
            }
        })?;
        Ok(Self { close, thread, quit: Some(quit) })
    }

    /// Waits until the user asks for the end of the run by a key; without a terminal, forever.
    pub async fn quit(&mut self) {
        if let Some(quit) = self.quit.take()
            && quit.await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Closes the view and returns its last frame.
    pub fn close(self) -> Frame {
        let _ = self.close.send(());
        self.thread.join().unwrap_or_default()
    }
}
