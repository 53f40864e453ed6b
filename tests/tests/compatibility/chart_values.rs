//! The values of the last release's chart, which people have in files: today's chart still takes them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vdi_tests::{
    helm::{self, Helm},
    installation::NAMESPACE,
};

use crate::{
    narrowing::{Narrowing, Narrowings},
    releases::last_chart,
    schema,
};

/// In what the schema of today's values is narrower than the last release's.
pub fn narrowings() -> Result<Vec<Narrowing>> {
    Ok(compare(&schema_of(&last_chart())?, &schema_of(&helm::chart())?))
}

fn compare(last: &Value, today: &Value) -> Vec<Narrowing> {
    let mut found = Narrowings::default();
    schema::compare("values", last, today, &mut found);
    found.0
}

/// The schema of a chart's values, with every reference replaced by what it refers to.
fn schema_of(chart: &Path) -> Result<Value> {
    let path = chart.join("values.schema.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut schema: Value = serde_json::from_str(&text)?;
    let definitions = schema["$defs"].clone();
    for keyword in ["$defs", "$schema", "$comment"] {
        schema.as_object_mut().context("no schema")?.remove(keyword);
    }
    resolve(&mut schema, &definitions)?;
    Ok(schema)
}

fn resolve(schema: &mut Value, definitions: &Value) -> Result<()> {
    match schema {
        Value::Object(keywords) => {
            if let Some(reference) = keywords.remove("$ref") {
                let name = reference.as_str().and_then(|reference| reference.strip_prefix("#/$defs/"));
                let definition = name.and_then(|name| definitions.get(name)?.as_object());
                for (keyword, value) in definition.with_context(|| format!("there is no {reference}"))? {
                    keywords.entry(keyword).or_insert_with(|| value.clone());
                }
            }
            keywords.values_mut().try_for_each(|schema| resolve(schema, definitions))
        }
        Value::Array(schemas) => schemas.iter_mut().try_for_each(|schema| resolve(schema, definitions)),
        _ => Ok(()),
    }
}

#[test]
fn a_value_that_goes_or_is_limited_is_found_behind_references_too() -> Result<()> {
    let last = schema_of(&helm::chart())?;
    for name in last["properties"].as_object().context("no values")?.keys() {
        let mut today = last.clone();
        today["properties"].as_object_mut().context("no values")?.remove(name);
        let found: Vec<String> = compare(&last, &today).iter().map(ToString::to_string).collect();
        ensure!(found == [format!("values.{name}: the field is gone")], "{found:?}");
    }
    let mut today = last.clone();
    // A definition of its own in the file.
    today["properties"]["controller"]["properties"]["tolerations"]["items"]["properties"]["key"]["maxLength"] =
        json!(1);
    let found: Vec<String> = compare(&last, &today).iter().map(ToString::to_string).collect();
    ensure!(found == ["values.controller.tolerations[].key: maxLength was null and is 1"], "{found:?}");
    Ok(())
}

/// As `helm upgrade --reuse-values` passes them.
#[tokio::test]
async fn todays_chart_takes_all_the_values_of_the_last_release() -> Result<()> {
    let values = std::fs::read_to_string(last_chart().join("values.yaml"))?;
    let mut values: Value = serde_saphyr::from_str(&values)?;
    values["domain"] = "vdi.example.com".into();
    Helm::new(4).await?.template(NAMESPACE, &values).await.map(drop)
}
