//! What each configuration renders: the objects that differ from those of the defaults, which are in deploy/install.yaml.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use vdi_tests::{
    helm::Helm,
    installation::{NAMESPACE, parse},
};

use super::configurations;

/// Such as `Deployment vdi-gateway`.
fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

#[tokio::test]
async fn the_objects_of_each_configuration_are_those_in_the_snapshots() -> Result<()> {
    let helm = Helm::new(4).await?;
    let mut configurations = configurations::all().into_iter();
    let (_, defaults) = configurations.next().context("no configurations")?;
    let defaults = parse(&helm.template(NAMESPACE, &defaults).await?)?;
    for (configuration, values) in configurations {
        let objects = parse(&helm.template(NAMESPACE, &values).await?)?;
        let missing = defaults.iter().filter(|object| !objects.iter().any(|it| name(it) == name(object)));
        let mut snapshot = missing.map(|object| format!("# Not there: {}\n", name(object))).collect::<String>();
        for mut object in objects.iter().filter(|object| !defaults.contains(object)).cloned() {
            if let Some(dashboard) = object.pointer_mut("/data/vdiwarden.json") {
                *dashboard = json!("that of the chart");
            }
            snapshot += &format!("---\n{}", serde_saphyr::to_string(&object)?);
        }
        insta::assert_snapshot!(configuration, snapshot);
    }
    Ok(())
}
