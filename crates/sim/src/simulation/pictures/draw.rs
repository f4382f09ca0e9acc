//! A film as a sequence diagram.
//!
//! Time runs downwards. Each thing that leaves somebody has a line of its own; where it arrives while others
//! speak, its arrow goes down across their lines. Long silences are short on paper.

use std::fmt::Write as _;

use crate::simulation::film::{Mood, Shot, Who};

const MARGIN: f64 = 72.0;
const LANE: f64 = 166.0;
const TOP: f64 = 92.0;
/// Between two lines of text.
const LINE: f64 = 27.0;
/// Between a line and an arrival behind it.
const STEP: f64 = 9.0;
/// How much wider a long silence is.
const SILENCE: f64 = 18.0;
/// What counts as one, in ns.
const LONG: u64 = 100_000_000;
/// Of the text's size, as wide as the mean letter.
const LETTER: f64 = 6.6;

/// Classes in place of colours, so that the picture follows the reader's light or dark ground.
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

/// The picture of a film, whose first shot is at 0 ms.
pub(super) fn svg(title: &str, shots: &[Shot]) -> String {
    let mut lanes: Vec<Who> = shots.iter().flat_map(parties).collect();
    lanes.sort();
    lanes.dedup();
    let paper = Paper::of(shots, lanes);
    let (width, height) = (paper.x(paper.lanes.len()) - LANE / 2.0, paper.bottom + 44.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>{STYLE}</style>\n<rect class=\"g\" width=\"100%\" height=\"100%\" rx=\"10\"/>\n\
         <text class=\"t\" x=\"20\" y=\"30\">{title}</text>\n"
    );
    paper.draw_lanes(&mut svg);
    // What is said lies over all arrows.
    for layer in [Layer::Lines, Layer::Words] {
        for (number, shot) in shots.iter().enumerate() {
            paper.draw(&mut svg, layer, number, shot);
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

fn parties(shot: &Shot) -> Vec<Who> {
    match shot {
        Shot::Said { from, to, .. } => vec![*from, *to],
        Shot::Happened { who, .. } => vec![*who],
    }
}

fn began(shot: &Shot) -> u64 {
    match shot {
        Shot::Said { left, .. } => *left,
        Shot::Happened { at, .. } => *at,
    }
}

fn name(who: Who) -> &'static str {
    match who {
        Who::Reader => "reader",
        Who::Node(0) => "node A",
        Who::Node(_) => "node B",
        Who::Shared => "shared tier",
        Who::Log => "log",
        Who::Database => "database",
        Who::Writer => "writer",
    }
}

fn class(mood: Mood) -> &'static str {
    match mood {
        Mood::Plain => "plain",
        Mood::Good => "good",
        Mood::Bad => "bad",
        Mood::Faint => "faint",
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Layer {
    Lines,
    Words,
}

/// Where everything lies.
struct Paper {
    lanes: Vec<Who>,
    /// By shot: where it begins and ends.
    places: Vec<(f64, f64)>,
    /// What the margin says, and where.
    times: Vec<(f64, u64)>,
    bottom: f64,
}

impl Paper {
    fn of(shots: &[Shot], lanes: Vec<Who>) -> Self {
        let start = shots.iter().map(began).min().unwrap_or_default();
        // Beginnings and ends in the order of time; what begins at a moment follows what ends at it.
        let mut points: Vec<(u64, bool, usize)> = Vec::new();
        for (number, shot) in shots.iter().enumerate() {
            points.push((began(shot), true, number));
            if let Shot::Said { arrived, left, .. } = shot
                && arrived > left
            {
                points.push((*arrived, false, number));
            }
        }
        points.sort();
        let mut places = vec![(0.0, 0.0); shots.len()];
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

    fn lane(&self, who: Who) -> f64 {
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

    fn draw(&self, svg: &mut String, layer: Layer, number: usize, shot: &Shot) {
        let (y, end) = self.places[number];
        match shot {
            Shot::Said { from, to, text, mood, .. } => {
                let (x, to_x) = (self.lane(*from), self.lane(*to));
                match layer {
                    Layer::Lines => arrow(svg, [x, y, to_x, end], *mood),
                    Layer::Words => words(svg, [x, y, to_x], text, *mood),
                }
            }
            Shot::Happened { .. } if layer == Layer::Lines => {}
            Shot::Happened { who, text, mood, .. } => {
                let (x, class) = (self.lane(*who), class(*mood));
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

/// A line with its head turned as it runs.
fn arrow(svg: &mut String, [x, y, to_x, end]: [f64; 4], mood: Mood) {
    let class = class(mood);
    let dashed = if mood == Mood::Faint { " stroke-dasharray=\"4 3\"" } else { "" };
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

/// What an arrow says, above its beginning.
fn words(svg: &mut String, [x, y, to_x]: [f64; 3], text: &str, mood: Mood) {
    let class = class(mood);
    let right = if to_x > x { 1.0 } else { -1.0 };
    let (at, anchor) = (x + right * 10.0, if right > 0.0 { "start" } else { "end" });
    let (above, text) = (y - 6.0, escaped(text));
    // Once as a ground that hides what it crosses, once as text.
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
