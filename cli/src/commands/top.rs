use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use crate::{cluster::Cluster, commands::list, options::Top, table::table};

/// What a user or a template has, or waits for.
#[derive(Clone, Copy, Default)]
struct Sums {
    desktops: i64,
    gpus: i64,
    waiting: i64,
}

pub async fn run(cluster: &Cluster, Top { all_namespaces }: &Top) -> Result<()> {
    let list = cluster.get(&list::path(cluster, *all_namespaces)).await?;
    let sessions: Vec<&Value> = list["items"].as_array().into_iter().flatten().collect();
    for (heading, field) in [("USER", "user"), ("TEMPLATE", "template")] {
        let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
        for session in &sessions {
            let name = session["spec"][field].as_str().unwrap_or_default().to_owned();
            add(sums.entry(name).or_default(), session);
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(_, sum)| -sum.gpus);
        let row = |(name, sum): (String, Sums)| {
            vec![name, sum.desktops.to_string(), sum.gpus.to_string(), sum.waiting.to_string()]
        };
        let rows: Vec<_> = sums.into_iter().map(row).collect();
        println!("{}", table(&[heading, "DESKTOPS", "GPUS", "WAITING FOR"], &rows));
    }
    Ok(())
}

/// A session holds its GPUs from when its pod has a node until it is gone.
fn add(sums: &mut Sums, session: &Value) {
    let gpus = session["spec"]["resources"]["gpu"].as_i64().unwrap_or_default();
    sums.desktops += 1;
    match session["status"]["phase"].as_str() {
        Some("Creating" | "Running" | "Terminating") => sums.gpus += gpus,
        Some("Pending") if session["spec"]["suspend"] != true => sums.waiting += gpus,
        _ => {}
    }
}
