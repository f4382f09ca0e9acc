//! Draws a frame as an SVG picture, for documents.

use std::fmt::Write;

use super::frame::{Frame, Style};

const CHARACTER: f64 = 8.4;
const LINE: f64 = 20.0;
const MARGIN: f64 = 18.0;
const BAR: f64 = 34.0;

impl Frame {
    /// Returns the frame as SVG, in fixed-width text on a dark background.
    pub fn svg(&self) -> String {
        let columns = self
            .lines
            .iter()
            .map(|line| line.iter().map(|span| span.text.chars().count()).sum::<usize>())
            .max()
            .unwrap_or(0);
        let width = columns as f64 * CHARACTER + 2.0 * MARGIN;
        let height = self.lines.len() as f64 * LINE + BAR + 2.0 * MARGIN;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\">\n\
             <rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"#0d1b24\"/>\n\
             <g fill=\"#2d4350\"><circle cx=\"22\" cy=\"18\" r=\"6\"/><circle cx=\"42\" cy=\"18\" r=\"6\"/>\
             <circle cx=\"62\" cy=\"18\" r=\"6\"/></g>\n\
             <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" \
             font-size=\"14\" xml:space=\"preserve\">\n",
            title = escape(&self.title),
        );
        for (row, line) in self.lines.iter().enumerate() {
            let y = BAR + MARGIN + row as f64 * LINE;
            let mut column = 0;
            for span in line {
                let length = span.text.chars().count();
                draw(&mut svg, &span.text, column, y, span.style);
                column += length;
            }
        }
        svg.push_str("</g>\n</svg>\n");
        svg
    }
}

/// Draws one span with an explicit position and length, so that columns stay aligned in any font.
fn draw(svg: &mut String, text: &str, column: usize, y: f64, style: Style) {
    let shown = text.trim_start();
    let column = column + text.chars().count() - shown.chars().count();
    let shown = shown.trim_end();
    if shown.is_empty() {
        return;
    }
    let (fill, weight) = match style {
        Style::Plain => ("#d7e3ea", "normal"),
        Style::Dim => ("#7f97a5", "normal"),
        Style::Title => ("#ffffff", "bold"),
        Style::Good => ("#5fd38d", "bold"),
        Style::Bad => ("#ff7a70", "bold"),
        Style::Accent => ("#4fc3dc", "normal"),
    };
    let x = MARGIN + column as f64 * CHARACTER;
    let length = shown.chars().count() as f64 * CHARACTER;
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" lengthAdjust=\"spacingAndGlyphs\" \
         fill=\"{fill}\" font-weight=\"{weight}\">{}</text>",
        escape(shown)
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
