use std::{fmt::Display, path::Path};

use anyhow::{Context, Result};
use vdi_tests::target;

use crate::stop::unless_stopped;

/// Runs a benchmark on a cluster in target/clusters/bench, and prints its report. Ctrl-C ends it.
pub async fn on_a_cluster<R: Display>(measure: impl AsyncFnOnce(&Path) -> Result<R>) -> Result<()> {
    let directory = target().join("clusters/bench");
    let measure = async {
        measure(&directory).await.with_context(|| format!("logs are in {}", directory.join("logs").display()))
    };
    print!("{}", unless_stopped(measure).await?);
    Ok(())
}
