//! The same sources and compiler give the same module on every machine, so that a published one can be checked.

#![allow(clippy::unwrap_used)]

use std::fs;

use vdi_release::{
    copy_sources, digest,
    policy::{build, build_in},
};

#[test]
fn a_clean_build_of_a_copy_somewhere_else_gives_the_same_module() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("a folder with/a longer path");
    copy_sources(&copy).unwrap();
    let [here, there] =
        [build().unwrap(), build_in(&copy, &copy.join("target")).unwrap()].map(|it| fs::read(it).unwrap());
    let text = String::from_utf8_lossy(&there);
    for place in [copy, std::env::home_dir().unwrap()] {
        assert!(!text.contains(&format!("{}/", place.display())), "{} is in the module", place.display());
    }
    assert_eq!(digest(&here), digest(&there));
}
