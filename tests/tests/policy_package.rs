//! Checks that the files published with the policy match it.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, LazyLock},
};

use serde_json::{Value, json};
use vdi_tests::{
    policy::{Played, PolicyHost},
    workspace,
};

static HOST: LazyLock<PolicyHost> = LazyLock::new(|| PolicyHost::load(vdi_release::policy::build().unwrap()).unwrap());

fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(workspace().join(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn metadata() -> Value {
    yaml("metadata.yml")
}

fn image() -> String {
    let annotations = &metadata()["annotations"];
    let part = |name: &str| annotations[format!("io.kubewarden.policy.{name}")].as_str().unwrap().to_owned();
    format!("{}:v{}", part("ociUrl"), part("version"))
}

#[test]
fn the_module_carries_metadata_yml_and_the_version_of_the_crates() {
    let mut expected = metadata();
    expected["protocolVersion"] = json!("v1");
    assert_eq!(HOST.metadata(), &expected);
    assert_eq!(expected["annotations"]["io.kubewarden.policy.version"], env!("CARGO_PKG_VERSION"));
    let manifest = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    for name in ["license", "source"] {
        let value = expected["annotations"][format!("io.kubewarden.policy.{name}")].as_str().unwrap();
        assert!(manifest.contains(&format!("{value:?}")), "Cargo.toml doesn't say {name} {value}");
    }
}

#[test]
fn the_artifact_hub_package_matches_the_metadata() {
    let (package, metadata) = (yaml("artifacthub-pkg.yml"), metadata());
    let inner =
        |name: &str| -> Value { serde_saphyr::from_str(package["annotations"][name].as_str().unwrap()).unwrap() };
    assert_eq!(package["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(package["containersImages"], json!([{"name": "policy", "image": image()}]));
    assert_eq!(package["annotations"]["kubewarden/mutation"], metadata["mutating"].to_string());
    assert_eq!(inner("kubewarden/rules"), metadata["rules"]);
    assert_eq!(inner("kubewarden/contextAwareResources"), metadata["contextAwareResources"]);
    assert_eq!(inner("kubewarden/questions-ui"), yaml("questions-ui.yml"));
    assert!(!package["changes"].as_array().unwrap().is_empty() && package["createdAt"].is_string());
}

#[test]
fn the_manifests_grant_what_the_metadata_ask_for_and_no_more() {
    let (monitor, protect) = (yaml("deploy/kubewarden/monitor.yaml"), yaml("deploy/kubewarden/protect.yaml"));
    let standalone = &yaml("deploy/kubewarden/policies.yml")["vdisession"];
    let metadata = metadata();
    let spec = &protect["spec"];
    for name in ["rules", "mutating", "backgroundAudit", "contextAwareResources"] {
        assert_eq!(spec[name], metadata[name], "{name}");
    }
    assert_eq!(spec["failurePolicy"], "Fail");
    assert_eq!(spec["module"], format!("registry://{}", image()));
    for name in ["contextAwareResources", "hostCapabilities"] {
        assert_eq!(standalone[name], metadata[name], "{name}");
    }
    assert_eq!((&standalone["module"], &standalone["policyMode"]), (&spec["module"], &spec["mode"]));
    assert_eq!(standalone["allowedToMutate"], metadata["mutating"]);

    let mut watching = protect.clone();
    watching["spec"]["mode"] = json!("monitor");
    assert_eq!(monitor, watching);
    for settings in [&spec["settings"], &standalone["settings"]] {
        assert!(HOST.validate_settings(settings).unwrap().valid);
    }
}

#[test]
fn the_settings_in_the_documentation_are_valid() {
    let text = fs::read_to_string(workspace().join("docs/policy.md")).unwrap();
    let example = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let settings: Value = serde_saphyr::from_str(example).unwrap();
    assert!(settings.as_object().unwrap().len() > 5);
    assert_eq!(HOST.validate_settings(&settings).unwrap().message, None);
}

#[test]
fn sample_requests_get_the_verdict_of_their_folder() {
    for (folder, accepted) in [("accepted", true), ("rejected", false)] {
        let folder = workspace().join("deploy/samples/requests").join(folder);
        let files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 5, "{}", folder.display());
        for file in files {
            let request: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            let answer = HOST.validate(&request, &json!({}), Arc::new(Played::nobody_may_assign_user())).unwrap();
            assert_eq!(answer.accepted, accepted, "{}: {answer:?}", file.display());
        }
    }
}
