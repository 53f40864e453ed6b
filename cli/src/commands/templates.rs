use anyhow::Result;
use jiff::Timestamp;
use serde_json::Value;

use crate::{cluster::Cluster, commands::why::clock, options::Templates, output::Output, table::table};

pub const PATH: &str = "/apis/vdi.kasm.io/v1alpha1/vditemplates";

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
    let header = ["NAME", "TITLE", "GPUS", "DESKTOPS", "DESCRIPTION", "IMAGE"];
    print!("{}", table(&header[..if wide { 6 } else { 5 }], &rows));
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
    let gpus = gpus(&template["status"]["capacity"]);
    let mut row = vec![text(&template["metadata"]["name"]), text(&spec["displayName"]), gpus, sessions, description];
    if wide {
        row.push(text(&spec["image"]));
    }
    row
}

/// What is free, in words: `3 of 8 free`.
fn gpus(capacity: &Value) -> String {
    let free = match (capacity["free"].as_i64(), capacity["gpus"].as_i64()) {
        (Some(_), Some(0)) => "none in the cluster".to_owned(),
        (Some(free), Some(gpus)) => format!("{free} of {gpus} free"),
        _ => "unknown".to_owned(),
    };
    let next = capacity["nextFree"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    let next = next.map(|time| format!("next free by {}", clock(time)));
    let waiting = capacity["waiting"].as_i64().filter(|waiting| *waiting > 0);
    let waiting = waiting.map(|waiting| format!("{waiting} {}", if waiting == 1 { "waits" } else { "wait" }));
    [Some(free), next, waiting].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_free_is_told_in_words_and_what_is_not_known_as_unknown() {
        for (capacity, words) in [
            (json!({ "gpus": 8, "free": 3, "waiting": 0 }), "3 of 8 free"),
            (json!({ "gpus": 8, "free": 1, "waiting": 1 }), "1 of 8 free, 1 waits"),
            (json!({ "gpus": 8, "free": 0, "waiting": 2 }), "0 of 8 free, 2 wait"),
            (json!({ "gpus": 0, "free": 0, "waiting": 0 }), "none in the cluster"),
            (json!({ "waiting": 2 }), "unknown, 2 wait"),
            (json!({ "gpus": "8", "free": "3", "nextFree": "soon" }), "unknown"),
            (json!({ "gpus": 8, "free": 0, "nextFree": "soon" }), "0 of 8 free"),
            (Value::Null, "unknown"),
        ] {
            assert_eq!(gpus(&capacity), words, "{capacity}");
        }
        let full = gpus(&json!({ "gpus": 8, "free": 0, "waiting": 2, "nextFree": "2001-01-01T12:40:00Z" }));
        assert!(full.starts_with("0 of 8 free, next free by 200") && full.ends_with(", 2 wait"), "{full}");
    }
}
