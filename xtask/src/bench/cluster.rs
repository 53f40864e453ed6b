use std::{fmt::Display, path::Path};

use anyhow::{Context, Result};
use vdi_tests::target;

use crate::stop::unless_stopped;

/// Measures on a cluster in this folder, and prints the report, unless somebody interrupts it.
pub async fn on_a_cluster<R: Display>(measure: impl AsyncFnOnce(&Path) -> Result<R>) -> Result<()> {
    let directory = target().join("clusters/bench");
    let measure = async {
        measure(&directory).await.with_context(|| format!("logs are in {}", directory.join("logs").display()))
    };
    print!("{}", unless_stopped(measure).await?);
    Ok(())
}
