//! A recording as a sequence diagram.
//!
//! Time runs downwards. Each message has a line of its own; if it arrives after later messages were sent,
//! its arrow slopes down across their lines. Long silences are shortened.

use std::fmt::Write as _;

use crate::simulation::recorder::{Interaction, Participant, Tone};

const MARGIN: f64 = 72.0;
const LANE: f64 = 166.0;
const TOP: f64 = 92.0;
/// The distance between two lines of text.
const LINE: f64 = 27.0;
/// The distance between a line and a later arrival.
const STEP: f64 = 9.0;
/// The additional height of a long silence.
const SILENCE: f64 = 18.0;
/// The shortest long silence, in ns.
const LONG: u64 = 100_000_000;
/// The mean width of a letter at the text's size.
const LETTER: f64 = 6.6;

/// Classes instead of colours, so that the picture follows the reader's light or dark background.
const STYLE: &str = "\
text{font:13px system-ui,'DejaVu Sans',sans-serif;fill:#1f2933}\
.h{font-weight:600}.t{font-size:16px;font-weight:600}.s{font-size:11px;fill:#66788a}\
.p{stroke:#fff;stroke-width:5px;stroke-linejoin:round;fill:none}\
.g{fill:#fff}.l{stroke:#c3ced8;stroke-width:1.5}.b{fill:#e9eff5;stroke:#c3ced8}\
.plain{stroke:#3b6ea8}.good{stroke:#1f8a4c}.bad{stroke:#c0392b}.faint{stroke:#9aa9b7}\
line,path{stroke-width:1.6}path.plain{fill:#3b6ea8}path.good{fill:#1f8a4c}\
path.bad{fill:#c0392b}path.faint{fill:#9aa9b7}\
text.good{fill:#17703d;stroke:none}text.bad{fill:#b03022;stroke:none}\
text.plain{stroke:none}text.faint{fill:#66788a;stroke:none}\
rect.plain,rect.good,rect.bad,rect.faint{fill:#fff;stroke-width:1.2}\
@media(prefers-color-scheme:dark){text{fill:#dbe4ec}.s{fill:#8fa2b3}.p{stroke:#0f1a22}.g{fill:#0f1a22}\
.l{stroke:#37495a}.b{fill:#1b2a36;stroke:#37495a}\
.plain{stroke:#6fa8e8}path.plain{fill:#6fa8e8}.good{stroke:#4fc17e}path.good{fill:#4fc17e}\
.bad{stroke:#ff7b6b}path.bad{fill:#ff7b6b}.faint{stroke:#66788a}path.faint{fill:#66788a}\
text.good{fill:#6fdc9b}text.bad{fill:#ff9a8c}text.faint{fill:#8fa2b3}\
rect.plain,rect.good,rect.bad,rect.faint{fill:#0f1a22}}";

/// Draws a recording, whose first interaction is at 0 ms.
pub(super) fn svg(title: &str, interactions: &[Interaction]) -> String {
    let mut lanes: Vec<Participant> = interactions.iter().flat_map(parties).collect();
    lanes.sort();
    lanes.dedup();
    let layout = Layout::of(interactions, lanes);
    let (width, height) = (layout.x(layout.lanes.len()) - LANE / 2.0, layout.bottom + 44.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>{STYLE}</style>\n<rect class=\"g\" width=\"100%\" height=\"100%\" rx=\"10\"/>\n\
         <text class=\"t\" x=\"20\" y=\"30\">{title}</text>\n"
    );
    layout.draw_lanes(&mut svg);
    // The words lie above all arrows.
    for layer in [Layer::Lines, Layer::Words] {
        for (number, interaction) in interactions.iter().enumerate() {
            layout.draw(&mut svg, layer, number, interaction);
        }
    }
    let _ = writeln!(
        svg,
        "<text class=\"s\" x=\"20\" y=\"{:.0}\">recorded from the product's engine on virtual time; \
         positions are the log's: τ of a load, W visible, e an event's, A applied</text>\n</svg>",
        height - 14.0
    );
    svg
}

fn parties(interaction: &Interaction) -> Vec<Participant> {
    match interaction {
        Interaction::Message { from, to, .. } => vec![*from, *to],
        Interaction::Note { who, .. } => vec![*who],
    }
}

fn began(interaction: &Interaction) -> u64 {
    match interaction {
        Interaction::Message { left, .. } => *left,
        Interaction::Note { at, .. } => *at,
    }
}

fn name(who: Participant) -> &'static str {
    match who {
        Participant::Reader => "reader",
        Participant::Node(0) => "node A",
        Participant::Node(_) => "node B",
        Participant::Shared => "shared tier",
        Participant::Log => "log",
        Participant::Database => "database",
        Participant::Writer => "writer",
    }
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "plain",
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Faint => "faint",
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Layer {
    Lines,
    Words,
}

/// The layout.
struct Layout {
    lanes: Vec<Participant>,
    /// The start and the end of each interaction.
    places: Vec<(f64, f64)>,
    /// The times in the margin.
    times: Vec<(f64, u64)>,
    bottom: f64,
}

impl Layout {
    fn of(interactions: &[Interaction], lanes: Vec<Participant>) -> Self {
        let start = interactions.iter().map(began).min().unwrap_or_default();
        // Starts and ends in the sequence of time; at the same time, ends come before starts.
        let mut points: Vec<(u64, bool, usize)> = Vec::new();
        for (number, interaction) in interactions.iter().enumerate() {
            points.push((began(interaction), true, number));
            if let Interaction::Message { arrived, left, .. } = interaction
                && arrived > left
            {
                points.push((*arrived, false, number));
            }
        }
        points.sort();
        let mut places = vec![(0.0, 0.0); interactions.len()];
        let (mut y, mut before, mut times): (f64, u64, Vec<(f64, u64)>) = (TOP, start, Vec::new());
        for (at, begins, number) in points {
            if at - before >= LONG {
                y += SILENCE;
            }
            before = at;
            y += if begins { LINE } else { STEP };
            if begins {
                places[number] = (y, y);
                if times.last().is_none_or(|(_, told)| *told != at - start) {
                    times.push((y, at - start));
                }
            } else {
                places[number].1 = y;
            }
        }
        Self { lanes, places, times, bottom: y + LINE }
    }

    fn x(&self, lane: usize) -> f64 {
        MARGIN + LANE / 2.0 + LANE * lane as f64
    }

    fn lane(&self, who: Participant) -> f64 {
        self.x(self.lanes.iter().position(|lane| *lane == who).unwrap_or_default())
    }

    fn draw_lanes(&self, svg: &mut String) {
        for (number, who) in self.lanes.iter().enumerate() {
            let (x, name) = (self.x(number), name(*who));
            let (left, top, bottom) = (x - 52.0, TOP - 42.0, self.bottom);
            let _ = writeln!(
                svg,
                "<line class=\"l\" x1=\"{x:.0}\" y1=\"{:.0}\" x2=\"{x:.0}\" y2=\"{bottom:.0}\"/>\n\
                 <rect class=\"b\" x=\"{left:.0}\" y=\"{top:.0}\" width=\"104\" height=\"28\" rx=\"6\"/>\n\
                 <text class=\"h\" x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{name}</text>",
                top + 28.0,
                top + 19.0
            );
        }
        for (y, at) in &self.times {
            let ms = *at as f64 / 1e6;
            let _ = writeln!(
                svg,
                "<text class=\"s\" x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{ms:.0} ms</text>",
                MARGIN - 8.0,
                y + 4.0
            );
        }
    }

    fn draw(&self, svg: &mut String, layer: Layer, number: usize, interaction: &Interaction) {
        let (y, end) = self.places[number];
        match interaction {
            Interaction::Message { from, to, text, tone, .. } => {
                let (x, to_x) = (self.lane(*from), self.lane(*to));
                match layer {
                    Layer::Lines => arrow(svg, [x, y, to_x, end], *tone),
                    Layer::Words => words(svg, [x, y, to_x], text, *tone),
                }
            }
            Interaction::Note { .. } if layer == Layer::Lines => {}
            Interaction::Note { who, text, tone, .. } => {
                let (x, class) = (self.lane(*who), class(*tone));
                let width = LETTER * text.chars().count() as f64 + 18.0;
                let (left, top) = (x - width / 2.0, y - 14.0);
                let _ = writeln!(
                    svg,
                    "<rect class=\"{class}\" x=\"{left:.0}\" y=\"{top:.0}\" width=\"{width:.0}\" \
                     height=\"21\" rx=\"10\"/>\n<text class=\"{class}\" x=\"{x:.0}\" y=\"{:.0}\" \
                     text-anchor=\"middle\">{}</text>",
                    y + 1.0,
                    escaped(text)
                );
            }
        }
    }
}

/// Draws an arrow.
fn arrow(svg: &mut String, [x, y, to_x, end]: [f64; 4], tone: Tone) {
    let class = class(tone);
    let dashed = if tone == Tone::Faint { " stroke-dasharray=\"4 3\"" } else { "" };
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{x:.0}\" y1=\"{y:.0}\" x2=\"{to_x:.0}\" y2=\"{end:.0}\"{dashed}/>"
    );
    let (dx, dy) = (to_x - x, end - y);
    let length = dx.hypot(dy).max(1.0);
    let (ux, uy) = (dx / length, dy / length);
    let corner = |side: f64| (to_x - 9.0 * ux - side * uy * 4.0, end - 9.0 * uy + side * ux * 4.0);
    let ((ax, ay), (bx, by)) = (corner(1.0), corner(-1.0));
    let _ = writeln!(
        svg,
        "<path class=\"{class}\" d=\"M{to_x:.1} {end:.1}L{ax:.1} {ay:.1}L{bx:.1} {by:.1}Z\"/>"
    );
}

/// Draws the text of an arrow, above its start.
fn words(svg: &mut String, [x, y, to_x]: [f64; 3], text: &str, tone: Tone) {
    let class = class(tone);
    let right = if to_x > x { 1.0 } else { -1.0 };
    let (at, anchor) = (x + right * 10.0, if right > 0.0 { "start" } else { "end" });
    let (above, text) = (y - 6.0, escaped(text));
    // Once as a background that hides the lines below it, once as text.
    for class in ["p", class] {
        let _ = writeln!(
            svg,
            "<text class=\"{class}\" x=\"{at:.0}\" y=\"{above:.0}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
