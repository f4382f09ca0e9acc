//! Draws frames on a terminal's alternate screen and restores the terminal afterwards.

use std::io::{Stderr, Write, stderr};
use std::sync::Once;
use std::time::Duration;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{Event, KeyCode, KeyModifiers, poll, read};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};

use super::frame::{Frame, Span, Style};

/// The alternate screen, which is left on drop.
pub(super) struct Screen {
    terminal: Stderr,
}

impl Screen {
    pub(super) fn open() -> std::io::Result<Self> {
        restore_on_panic();
        let mut terminal = stderr();
        // Keys arrive one by one and aren't echoed. Where that can't be had, Ctrl-C still ends a run.
        let _ = enable_raw_mode();
        execute!(terminal, EnterAlternateScreen, Hide, Clear(ClearType::All))?;
        Ok(Self { terminal })
    }

    pub(super) fn draw(&mut self, frame: &Frame) -> std::io::Result<()> {
        let (width, height) = size().unwrap_or((100, 40));
        // One write for the whole frame, since a half-drawn screen flickers.
        let mut bytes = Vec::with_capacity(8 * 1024);
        queue!(bytes, BeginSynchronizedUpdate, MoveTo(0, 0))?;
        for (row, line) in (0..height).zip(&frame.lines) {
            queue!(bytes, MoveTo(0, row))?;
            let mut left = usize::from(width);
            for span in line {
                left = print(&mut bytes, span, left)?;
            }
            queue!(bytes, ResetColor, SetAttribute(Attribute::Reset))?;
            if left > 0 {
                queue!(bytes, Clear(ClearType::UntilNewLine))?;
            }
        }
        queue!(bytes, EndSynchronizedUpdate)?;
        self.terminal.write_all(&bytes)?;
        self.terminal.flush()
    }
}

impl Screen {
    /// Returns whether `q` or Ctrl-C was pressed since the last call: in raw mode, Ctrl-C is a key.
    pub(super) fn quit_pressed(&self) -> bool {
        let mut quit = false;
        while matches!(poll(Duration::ZERO), Ok(true)) {
            let Ok(event) = read() else { break };
            if let Event::Key(key) = event {
                let control = key.modifiers.contains(KeyModifiers::CONTROL);
                quit |= match key.code {
                    KeyCode::Char('q' | 'Q') => true,
                    KeyCode::Char('c') => control,
                    _ => false,
                };
            }
        }
        quit
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Prints as much as fits and returns the number of columns left.
fn print(bytes: &mut Vec<u8>, span: &Span, left: usize) -> std::io::Result<usize> {
    let text: String = span.text.chars().take(left).collect();
    let (color, attribute) = match span.style {
        Style::Plain => (Color::Reset, Attribute::Reset),
        Style::Dim => (Color::DarkGrey, Attribute::Reset),
        Style::Title => (Color::Reset, Attribute::Bold),
        Style::Good => (Color::Green, Attribute::Bold),
        Style::Bad => (Color::Red, Attribute::Bold),
        Style::Accent => (Color::Cyan, Attribute::Reset),
    };
    let width = text.chars().count();
    queue!(bytes, SetAttribute(attribute), SetForegroundColor(color), Print(text))?;
    Ok(left - width)
}

fn restore() {
    let _ = execute!(stderr(), Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

/// Leaves the alternate screen before a panic message is printed, so that the message stays visible.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
    });
}
