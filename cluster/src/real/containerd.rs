//! A node's containerd, through its own client.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::command::run;
use crate::error::Error;

#[derive(Debug)]
pub(super) struct Containerd {
    pub ctr: PathBuf,
    pub socket: PathBuf,
}

impl Containerd {
    /// Returns an error until containerd answers.
    pub async fn check(&self) -> Result<(), Error> {
        let mut version = self.client();
        version.arg("version");
        run(version).await.map(drop)
    }

    /// Imports an image archive, OCI or `docker save`.
    pub async fn import(&self, archive: &Path) -> Result<(), Error> {
        let mut import = self.client();
        import.args(["images", "import"]).arg(archive);
        run(import).await.map(drop)
    }

    /// Its client, in the namespace that the kubelet uses.
    fn client(&self) -> Command {
        let mut ctr = Command::new(&self.ctr);
        ctr.arg("--address").arg(&self.socket).args(["--namespace", "k8s.io"]);
        ctr
    }
}
