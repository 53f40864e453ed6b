use anyhow::{Context, Result};
use serde_json::json;
use vdi_api::Timeout;

use crate::{cluster::Cluster, options::Extend};

pub async fn run(cluster: &Cluster, Extend { name, time }: &Extend) -> Result<()> {
    let session = cluster.session(name).await?;
    let timeout: Timeout = session.spec.timeout.parse().with_context(|| format!("the time of {name}"))?;
    let longer = timeout.longer_by(time.duration()).context("that is longer than any desktop may run")?;
    cluster.patch(&session, json!({"timeout": longer.to_string()})).await?;
    println!("{name} may run {longer} instead of {timeout}, counted from its first start");
    Ok(())
}
