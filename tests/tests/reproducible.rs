//! The same sources and compiler give the same module on every machine, so that a published one can be checked.

#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf, process::Command};

use vdi_release::{
    digest,
    policy::{build, build_in},
    workspace,
};

/// The workspace's files, those included that are about to be committed.
fn sources() -> Vec<PathBuf> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(workspace());
    let listed = git.output().expect("git has to be installed");
    assert!(listed.status.success(), "git lists no files: {listed:?}");
    let paths = String::from_utf8(listed.stdout).unwrap();
    paths.split_terminator('\0').map(PathBuf::from).filter(|path| workspace().join(path).is_file()).collect()
}

#[test]
fn a_clean_build_of_a_copy_somewhere_else_gives_the_same_module() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("a folder with/a longer path");
    for path in sources() {
        let to = copy.join(&path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(workspace().join(path), to).unwrap();
    }
    let [here, there] =
        [build().unwrap(), build_in(&copy, &copy.join("target")).unwrap()].map(|it| fs::read(it).unwrap());
    let text = String::from_utf8_lossy(&there);
    for place in [copy, std::env::home_dir().unwrap()] {
        assert!(!text.contains(&format!("{}/", place.display())), "{} is in the module", place.display());
    }
    assert_eq!(digest(&here), digest(&there));
}
