use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vdi_release::{
    digest, docker_config,
    policy::{artifact, metadata},
};

use super::{
    annotate, build,
    output::Output,
    text::{harmless, indented, scalar, show, size},
};

#[derive(clap::Args)]
pub struct Options {
    /// A file, or a reference in an OCI registry [default: the built module]
    module: Option<String>,

    /// Print the metadata
    #[arg(long, short, value_enum)]
    output: Option<Output>,
}

pub async fn run(Options { module, output }: &Options) -> Result<()> {
    let (place, module) = find(module.as_deref()).await?;
    let metadata = metadata::read(&module).with_context(|| format!("can't inspect {place}"))?;
    match output {
        Some(Output::Json) => show(&format!("{}\n", serde_json::to_string_pretty(&metadata)?)),
        None => {
            let module = format!("Module\n  {place}\n  {}\n  {}\n", size(module.len()), digest(&module));
            show(&format!("{}\n{module}", description(&metadata)))
        }
    }
}

/// Finds a module. Returns its path or reference, and its content.
async fn find(module: Option<&str>) -> Result<(String, Vec<u8>)> {
    let Some(module) = module else {
        let path = build::module()?;
        return Ok((path.display().to_string(), annotate::read(&path)?));
    };
    let path = Path::new(module);
    if path.exists() {
        return Ok((module.to_owned(), annotate::read(path)?));
    }
    let is_path = path.extension().is_some_and(|extension| extension == "wasm") || module.starts_with(['.', '/']);
    ensure!(!is_path, "no such file: {module}");
    let pulled = artifact::pull(module, &docker_config()).await?;
    Ok((pulled.reference, pulled.module))
}

fn description(metadata: &Value) -> String {
    const USAGE: &str = "io.kubewarden.policy.usage";
    let about = |name: &str| metadata["annotations"][format!("io.kubewarden.policy.{name}")].as_str().map(harmless);
    let title = [about("title"), about("version")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let mut text = format!("{}\n", if title.is_empty() { "A policy without a title" } else { &title });
    text.extend(about("description").map(|description| indented(&description)));

    section(&mut text, "Reviews", list(&metadata["rules"]).map(rule));
    let facts = ["mutating", "backgroundAudit", "policyType", "executionMode", "protocolVersion"];
    let facts = facts.into_iter().chain(["minimumKubewardenVersion"]);
    let facts = facts.filter(|name| !metadata[name].is_null());
    section(&mut text, "Properties", facts.map(|name| format!("{name}: {}", scalar(&metadata[name]))));
    let resource = |it: &Value| format!("{} {}", scalar(&it["apiVersion"]), scalar(&it["kind"]));
    section(&mut text, "Reads in the cluster", list(&metadata["contextAwareResources"]).map(resource));
    section(&mut text, "Calls", list(&metadata["hostCapabilities"]).map(scalar));
    let annotations = metadata["annotations"].as_object().into_iter().flatten();
    let annotations = annotations.filter(|(name, _)| *name != USAGE);
    section(
        &mut text,
        "Annotations",
        annotations.map(|(name, value)| format!("{}: {}", harmless(name), scalar(value))),
    );
    section(&mut text, "Usage", about("usage"));
    text
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// `CREATE, UPDATE of vdisessions in vdi.kasm.io/v1alpha1`
fn rule(rule: &Value) -> String {
    let names = |field: &str| list(&rule[field]).map(scalar).collect::<Vec<_>>().join(", ");
    let (groups, versions) = (names("apiGroups"), names("apiVersions"));
    let group = if groups.is_empty() { versions } else { format!("{groups}/{versions}") };
    format!("{} of {} in {group}", names("operations"), names("resources"))
}

fn section(text: &mut String, title: &str, lines: impl IntoIterator<Item = String>) {
    let lines: String = lines.into_iter().map(|line| indented(&line)).collect();
    if !lines.is_empty() {
        text.push_str(&format!("\n{title}\n{lines}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_with_little_metadata_is_described_by_what_there_is() {
        assert_eq!(description(&json!({})), "A policy without a title\n");
        let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]});
        let described = description(&json!({"rules": [rule], "mutating": false}));
        assert!(
            described.ends_with("\nReviews\n  CREATE of pods in v1\n\nProperties\n  mutating: false\n"),
            "{described}"
        );
    }
}
