//! Scenes of the protocol, played by the product's own engine and drawn as sequence diagrams for
//! `docs/coherence.md`.
//!
//! A scene is a world in which nothing is left to chance and only happens what its script says. What those
//! who take part say to each other is filmed, and the film is drawn. So a picture shows what the engine does
//! today: a test fails where the committed ones don't.

mod draw;
mod script;

use super::film::Shot;

/// A drawn scene.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The file's name, without its folder.
    pub file: String,
    /// Its contents: an SVG that can be read on light and dark ground.
    pub svg: String,
}

/// Plays and draws all scenes: the same pictures to the byte, every time.
///
/// # Panics
/// If a scene breaks a promise, or no runtime can be made.
#[must_use]
pub fn pictures() -> Vec<Picture> {
    let draw = |scene: &script::Scene| {
        let shots: Vec<Shot> = scene.play();
        Picture { file: format!("{}.svg", scene.name), svg: draw::svg(scene.title, &shots) }
    };
    script::SCENES.iter().map(draw).collect()
}
