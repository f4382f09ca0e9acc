//! The pictures of `docs/coherence.md` show the present behaviour of the engine.

use std::path::PathBuf;

use sim::simulation::pictures;

/// To draw them again: `TIDEGATE_BLESS=1 cargo test -p sim --test protocol pictures`.
#[test]
fn committed_pictures_are_current() {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let folder = docs.join("pictures");
    let page = std::fs::read_to_string(docs.join("coherence.md")).expect("the page");
    let [pictures, again] = [pictures(), pictures()];
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::create_dir_all(&folder).expect("a folder");
        for picture in &pictures {
            std::fs::write(folder.join(&picture.file), &picture.svg).expect("written");
        }
    }
    for (picture, again) in pictures.iter().zip(&again) {
        let file = &picture.file;
        assert_eq!(picture.svg, again.svg, "{file} differs between two runs");
        let committed = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        assert!(
            committed == picture.svg,
            "docs/pictures/{file} does not show the engine's present behaviour; check the change, then run \
             `TIDEGATE_BLESS=1 cargo test -p sim --test protocol pictures`"
        );
        assert!(page.contains(&format!("](pictures/{file})")), "{file} is not on the page");
    }
    let files = std::fs::read_dir(&folder).expect("the folder").count();
    assert_eq!(files, pictures.len(), "a picture that no scene draws");
}
