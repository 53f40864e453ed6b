//! The images that every node has. Nothing is pulled for them: their names lead nowhere.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::command::run;
use crate::error::Error;
use crate::files::create_private_dir;

/// Without a command it only waits, as a pod's sandbox must.
pub(super) const BUSYBOX: &str = "vdiwarden.invalid/busybox:1";
pub(super) const COREDNS: &str = "vdiwarden.invalid/coredns:1";

/// Makes the image of Debian's busybox below `directory`, and returns its archive.
pub(super) async fn busybox(directory: &Path) -> Result<PathBuf, Error> {
    let root = directory.join("root");
    create_private_dir(&root)?;
    let mut make = Command::new("sh");
    make.args(["-c", include_str!("busybox.sh")]).current_dir(&root);
    run(make).await?;
    pack(BUSYBOX, r#"["/bin/sleep", "infinity"]"#, &root, ".", directory).await
}

/// Makes the image of a CoreDNS below `directory`, and returns its archive.
pub(super) async fn coredns(program: &Path, directory: &Path) -> Result<PathBuf, Error> {
    create_private_dir(directory)?;
    let cache = program.parent().unwrap_or(Path::new("/"));
    pack(COREDNS, r#"["/coredns"]"#, cache, "coredns", directory).await
}

async fn pack(image: &str, entrypoint: &str, root: &Path, file: &str, directory: &Path) -> Result<PathBuf, Error> {
    let mut pack = Command::new("sh");
    pack.args(["-c", include_str!("image.sh"), "image", image, entrypoint]).arg(root).arg(file).current_dir(directory);
    run(pack).await?;
    Ok(directory.join("image.tar"))
}
