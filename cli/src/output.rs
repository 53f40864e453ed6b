//! Objects as JSON, YAML or names.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    Json,
    Yaml,
    Name,
    Wide,
}

impl Output {
    /// The object, or `None` where a table is asked for.
    pub fn print(self, kind: &str, object: &impl Serialize) -> Result<Option<String>> {
        let value = serde_json::to_value(object)?;
        Ok(match self {
            Self::Wide => None,
            Self::Json => Some(serde_json::to_string_pretty(&value)? + "\n"),
            Self::Yaml => Some(serde_saphyr::to_string(&value)?),
            Self::Name => Some(names(kind, &value)),
        })
    }
}

/// As kubectl names an object or those of a list.
fn names(kind: &str, value: &Value) -> String {
    let items = value["items"].as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    let name = |item: &Value| Some(format!("{kind}.vdi.kasm.io/{}\n", item["metadata"]["name"].as_str()?));
    items.iter().filter_map(name).collect()
}
