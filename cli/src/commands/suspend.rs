use anyhow::Result;
use serde_json::json;

use crate::cluster::Cluster;

/// Suspends a session, or resumes it.
pub async fn run(cluster: &Cluster, name: &str, suspend: bool) -> Result<()> {
    let session = cluster.session(name).await?;
    match (session.spec.suspend == suspend, suspend) {
        (true, true) => println!("{name} is suspended already"),
        (true, false) => println!("{name} isn't suspended"),
        (false, true) => {
            cluster.patch(&session, json!({"suspend": true})).await?;
            println!("{name} is being suspended: its programs end, its files are kept, and its GPU is free for others");
            println!("Resume it with: kubectl vdi resume {name}");
        }
        (false, false) => {
            cluster.patch(&session, json!({"suspend": false})).await?;
            println!("{name} is starting again. Follow it with: kubectl vdi why {name}");
        }
    }
    Ok(())
}
