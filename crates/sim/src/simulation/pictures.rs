//! Scenes of the protocol, run by the product's own engine and drawn as sequence diagrams for
//! `docs/coherence.md`.
//!
//! A scene is a run without random numbers in which only scripted events happen. The messages of its
//! participants are recorded and drawn. So a picture shows the engine's present behaviour: a test fails
//! if the committed pictures differ.

mod draw;
mod script;

use super::recorder::Interaction;

/// A drawn scene.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The file's name, without its folder.
    pub file: String,
    /// Its contents: an SVG that is readable on light and dark backgrounds.
    pub svg: String,
}

/// Runs and draws all scenes: the same pictures to the byte, every time.
///
/// # Panics
/// If a scene violates a promise, or no runtime can be created.
#[must_use]
pub fn pictures() -> Vec<Picture> {
    let draw = |scene: &script::Scene| {
        let interactions: Vec<Interaction> = scene.run();
        Picture { file: format!("{}.svg", scene.name), svg: draw::svg(scene.title, &interactions) }
    };
    script::SCENES.iter().map(draw).collect()
}
