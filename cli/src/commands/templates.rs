use anyhow::Result;
use serde_json::Value;

use crate::{cluster::Cluster, options::Templates, output::Output, table::table};

const PATH: &str = "/apis/vdi.kasm.io/v1alpha1/vditemplates";

pub async fn run(cluster: &Cluster, Templates { output }: &Templates) -> Result<()> {
    let list = cluster.get(PATH).await?;
    if let Some(output) = output.output.filter(|output| *output != Output::Wide) {
        print!("{}", output.print("vditemplate", &list)?.unwrap_or_default());
        return Ok(());
    }
    let wide = output.output.is_some();
    let items: Vec<&Value> = list["items"].as_array().into_iter().flatten().collect();
    let rows: Vec<_> =
        items.iter().filter(|item| wide || item["spec"]["hidden"] != true).map(|item| row(item, wide)).collect();
    if rows.is_empty() {
        eprintln!("There is nothing to start: this cluster has no templates. Ask its administrator");
        return Ok(());
    }
    let header = ["NAME", "TITLE", "DESKTOPS", "DESCRIPTION", "IMAGE"];
    print!("{}", table(&header[..if wide { 5 } else { 4 }], &rows));
    Ok(())
}

fn row(template: &Value, wide: bool) -> Vec<String> {
    let spec = &template["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut description = text(&spec["description"]);
    if let Some(message) = spec["deprecated"]["message"].as_str() {
        let instead = spec["deprecated"]["replacement"].as_str();
        let instead = instead.map_or_else(String::new, |instead| format!(" Use {instead} instead."));
        description = format!("Deprecated: {message}{instead}");
    }
    let sessions = template["status"]["sessions"].as_i64().unwrap_or_default().to_string();
    let mut row = vec![text(&template["metadata"]["name"]), text(&spec["displayName"]), sessions, description];
    if wide {
        row.push(text(&spec["image"]));
    }
    row
}
