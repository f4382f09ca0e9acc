//! The pictures of `docs/coherence.md` show what the engine does today.

use std::path::PathBuf;

use sim::simulation::pictures;

/// Drawn anew: `TIDEGATE_BLESS=1 cargo test -p sim --test pictures`.
#[test]
fn the_committed_pictures_are_what_is_drawn_today() {
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
        assert_eq!(picture.svg, again.svg, "{file} is another one each time");
        let committed = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        assert!(
            committed == picture.svg,
            "docs/pictures/{file} is not what the engine does today; look at what has changed, then \
             `TIDEGATE_BLESS=1 cargo test -p sim --test pictures`"
        );
        assert!(page.contains(&format!("](pictures/{file})")), "{file} is not on the page");
    }
    let files = std::fs::read_dir(&folder).expect("the folder").count();
    assert_eq!(files, pictures.len(), "a picture that nobody draws any more");
}
