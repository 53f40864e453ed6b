use std::io::{IsTerminal as _, Write as _};

use anyhow::{Result, bail};
use kube::api::{DeleteParams, Preconditions};

use crate::{cluster::Cluster, options::Stop, words};

pub async fn run(cluster: &Cluster, Stop { name, yes }: &Stop) -> Result<()> {
    let session = cluster.session(name).await?;
    if !yes {
        eprintln!(
            "{name} ends: programs that are open in it are closed. Files in its home directory are kept, unless its template says"
        );
        eprintln!("otherwise. To keep the desktop for later instead: kubectl vdi suspend {name}");
        if !confirmed()? {
            bail!("nothing was done");
        }
    }
    // Not another one that has got the name since.
    let preconditions = Preconditions { uid: session.metadata.uid, resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let deleted = cluster.sessions().delete(name, &parameters).await;
    deleted.map_err(|error| words::explain(error, &cluster.namespace))?;
    println!("{name} is ending");
    Ok(())
}

fn confirmed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("say --yes to end it without being asked");
    }
    eprint!("End it? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
