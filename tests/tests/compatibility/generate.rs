//! Objects with every field that a schema describes.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::narrowing::{text, values};

/// A value with every field set, to something else than its default where that is easy, except for the fields `without`.
///
/// # Errors
/// When this knows no text that a pattern allows.
pub fn everything(path: &str, schema: &Value, without: &[&str]) -> Result<Value> {
    if let Some(value) = values(&schema["enum"]).filter(|value| !value.is_null()).last() {
        return Ok(value.clone());
    }
    match text(&schema["type"]) {
        "object" => object(path, schema, without),
        "array" => Ok(json!([everything(&format!("{path}[]"), &schema["items"], without)?])),
        "string" => string(path, schema),
        "integer" | "number" => Ok(json!(schema["minimum"].as_f64().map_or(1, |least| least as i64 + 1))),
        "boolean" => Ok(json!(schema["default"] != true)),
        other => bail!("{path}: this test knows no value of the type {other:?}"),
    }
}

const KEY: &str = "key";

fn object(path: &str, schema: &Value, without: &[&str]) -> Result<Value> {
    let mut object = Map::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if !without.contains(&&*path) {
            object.insert(name.clone(), everything(&path, property, without)?);
        }
    }
    if schema["additionalProperties"].is_object() {
        let value = everything(&format!("{path}.{KEY}"), &schema["additionalProperties"], without)?;
        object.insert(KEY.to_owned(), value);
    }
    Ok(object.into())
}

fn string(path: &str, schema: &Value) -> Result<Value> {
    let rules: String = values(&schema["x-kubernetes-validations"]).map(|rule| text(&rule["rule"])).collect();
    if schema["format"] == "date-time" {
        return Ok(json!("2026-01-01T12:00:00Z"));
    }
    // Its own name, so that no two are the same.
    let name = path.rsplit('.').next().unwrap_or(path);
    let candidates = match (rules.contains("duration("), rules.contains("quantity(")) {
        (true, _) => vec!["90m".to_owned()],
        (_, true) => vec!["7".to_owned()],
        _ => vec![
            name.to_owned(),
            format!("/{name}"),
            format!("https://{name}.example.com"),
            format!("{name}@example.com"),
            "10.20.0.0/16".to_owned(),
        ],
    };
    let pattern = Regex::new(schema["pattern"].as_str().unwrap_or_default())?;
    let fits = candidates.into_iter().find(|candidate| pattern.is_match(candidate));
    fits.map(Value::from).with_context(|| format!("{path}: add a text that {pattern} allows"))
}

/// The paths of all values in a value.
pub fn paths(path: &str, value: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::from([path.to_owned()]);
    let fields = value.as_object().into_iter().flatten();
    all.extend(fields.flat_map(|(name, value)| paths(&format!("{path}.{name}"), value)));
    all.extend(values(value).flat_map(|value| paths(&format!("{path}[]"), value)));
    all
}
