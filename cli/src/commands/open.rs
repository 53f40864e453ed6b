use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use vdi_api::Phase;

use crate::{cluster::Cluster, commands::why, options::Open};

pub async fn run(cluster: &Cluster, Open { name, print }: &Open) -> Result<()> {
    let session = cluster.session(name).await?;
    let status = session.status.clone().unwrap_or_default();
    let Some(url) = status.url.filter(|_| status.phase == Phase::Running) else {
        bail!("{name} can't be opened now\n{}", why::told(&session, Timestamp::now()).trim_end());
    };
    open(name, &url, *print)
}

/// Opens a running desktop, or prints where it is.
pub fn open(name: &str, url: &str, print: bool) -> Result<()> {
    // What the browser gets is an address of the web, whatever somebody has managed to write into the status.
    if !url.starts_with("https://") {
        bail!("{name} has an address that isn't opened: {url:?}");
    }
    println!("{url}");
    if !print {
        open::that(url).context("can't open a browser: open the address above in one")?;
    }
    Ok(())
}
