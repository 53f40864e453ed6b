//! Test cases in files: a request, settings, and the expected answer. The name of a file is the sentence that it proves.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    capabilities::Played,
    host::{PolicyHost, PolicyResponse},
};

/// A case of `validate`. By default it is the creation of [`valid_session`] by its user.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Case {
    #[serde(default)]
    kind: Kind,
    /// Replaces the object.
    object: Option<Value>,
    /// Replaces members of the object's metadata; `{"$absent": true}` removes one.
    #[serde(default)]
    metadata: Map<String, Value>,
    /// Replaces members of the object's spec.
    #[serde(default)]
    spec: Map<String, Value>,
    /// Makes the request an update of a valid object whose spec has these members replaced.
    old_spec: Option<Map<String, Value>>,
    /// Makes the request a delete of the object.
    #[serde(default)]
    delete: bool,
    /// The requester, instead of alice.
    user: Option<String>,
    groups: Option<Vec<String>>,
    /// Replaces members of the AdmissionRequest.
    #[serde(default)]
    request: Map<String, Value>,
    #[serde(default = "no_settings")]
    pub settings: Value,
    /// The answers of the host. By default nobody may act for others.
    #[serde(default = "Played::nobody_may_assign_user")]
    pub host: Played,
    /// `{"accepted", "code", "message": [line ...], "patch": [RFC 6902 ...], "warnings", "audit"}`; omitted members must be
    /// absent from the answer.
    expect: Value,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
enum Kind {
    #[default]
    VDISession,
    VDITemplate,
}

/// A case of `validate_settings`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsCase {
    pub settings: Value,
    /// `{"valid", "message": [line ...]}`
    expect: Value,
}

fn no_settings() -> Value {
    json!({})
}

/// A session with every field that breaks no rule.
pub fn valid_session() -> Value {
    json!({
        "apiVersion": "vdi.kasm.io/v1alpha1",
        "kind": "VDISession",
        "metadata": {
            "name": "alice-desktop",
            "namespace": "desktops",
            "annotations": {"vdi.kasm.io/created-by": "alice@example.com"},
        },
        "spec": {
            "user": "alice@example.com",
            "template": "ubuntu-desktop",
            "resources": {"gpu": 1, "memory": "4Gi"},
            "timeout": "8h",
        },
    })
}

/// A template that breaks no rule.
pub fn valid_template() -> Value {
    let digest = "2f9f0d2f1ad3b6ba1d1b2d2f7a3f6bd4a2a4b7b2f9c1a5d7e8c3b1f0a9d8c7e6";
    json!({
        "apiVersion": "vdi.kasm.io/v1alpha1",
        "kind": "VDITemplate",
        "metadata": {"name": "ubuntu-desktop"},
        "spec": {
            "image": format!("registry.example.com/desktops/ubuntu:24.04@sha256:{digest}"),
            "port": 6080,
            "probe": {"path": "/healthz"},
            "sharedMemory": "256Mi",
            "gpu": {"resourceName": "nvidia.com/gpu"},
        },
    })
}

/// The AdmissionRequest in which alice creates `object`, as the API server sends it.
pub fn create(object: Value) -> Value {
    let kind = object["kind"].as_str().unwrap_or("VDISession").to_owned();
    let gvk = json!({"group": "vdi.kasm.io", "version": "v1alpha1", "kind": kind});
    let resource = format!("{}s", kind.to_lowercase());
    let resource = json!({"group": "vdi.kasm.io", "version": "v1alpha1", "resource": resource});
    json!({
        "uid": "5b0f4c1e-6f2e-4f0c-9a51-3f8f4f1d2a6b",
        "kind": gvk,
        "resource": resource,
        "requestKind": gvk,
        "requestResource": resource,
        "name": "alice-desktop",
        "namespace": "desktops",
        "operation": "CREATE",
        "userInfo": {"username": "alice@example.com", "groups": ["system:authenticated"]},
        "object": object,
        "oldObject": null,
        "dryRun": false,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
    })
}

impl Case {
    /// The AdmissionRequest.
    pub fn request(&self) -> Value {
        let object = self.object.clone().map_or_else(|| self.valid_with(&self.metadata, &self.spec), expand);
        let mut request = create(object);
        if let Some(old_spec) = &self.old_spec {
            request["operation"] = "UPDATE".into();
            request["oldObject"] = self.valid_with(&Map::new(), old_spec);
        }
        if self.delete {
            request["operation"] = "DELETE".into();
            request["oldObject"] = request["object"].take();
        }
        if let Some(user) = &self.user {
            request["userInfo"]["username"] = user.as_str().into();
        }
        if let Some(groups) = &self.groups {
            request["userInfo"]["groups"] = json!(groups);
        }
        replace(&mut request, &self.request);
        request
    }

    /// # Errors
    /// The difference between the expected and the actual answer.
    pub fn check(&self, ask: impl Fn(&Value, &Value, &Played) -> Result<PolicyResponse>) -> Result<()> {
        let request = self.request();
        let response = ask(&request, &self.settings, &self.host)?;
        if let Some(mutated) = &response.mutated_object {
            let mut again = request.clone();
            again["object"] = mutated.clone();
            let again = ask(&again, &self.settings, &self.host)?;
            ensure!(again.accepted && again.mutated_object.is_none(), "mutating it again is not the same: {again:?}");
        }
        compare(&self.expect, &summary(&request["object"], response))
    }

    /// The answer when the rule has another mode than in the case's settings.
    ///
    /// # Errors
    /// When the policy doesn't answer.
    pub fn ask_with_mode(
        &self,
        ask: impl Fn(&Value, &Value, &Played) -> Result<PolicyResponse>,
        rule: &str,
        mode: &str,
    ) -> Result<PolicyResponse> {
        let mut settings = self.settings.clone();
        settings["rules"][rule] = mode.into();
        ask(&self.request(), &settings, &self.host)
    }

    fn valid_with(&self, metadata: &Map<String, Value>, spec: &Map<String, Value>) -> Value {
        let mut object = match self.kind {
            Kind::VDISession => valid_session(),
            Kind::VDITemplate => valid_template(),
        };
        replace(&mut object["metadata"], metadata);
        replace(&mut object["spec"], spec);
        object
    }
}

impl SettingsCase {
    /// # Errors
    /// As [`Case::check`].
    pub fn check(&self, host: &PolicyHost) -> Result<()> {
        let response = host.validate_settings(&self.settings)?;
        let mut actual = json!({"valid": response.valid});
        if let Some(message) = response.message {
            actual["message"] = lines(&message);
        }
        compare(&self.expect, &actual)
    }
}

/// Checks every case in a folder, and returns their number.
///
/// # Errors
/// Every case that fails, with the reason.
pub fn check_all<C: for<'de> Deserialize<'de>>(folder: &Path, check: impl Fn(&C) -> Result<()>) -> Result<usize> {
    let mut files = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
        .with_context(|| format!("can't read {}", folder.display()))?;
    files.sort();
    let mut failures = String::new();
    for file in &files {
        let case = fs::read(file).map_err(Into::into).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        if let Err(error) = case.and_then(|case| check(&case)) {
            failures.push_str(&format!("\n{}\n{error:#}\n", file.display()));
        }
    }
    ensure!(failures.is_empty(), "{failures}");
    Ok(files.len())
}

fn replace(object: &mut Value, members: &Map<String, Value>) {
    for (name, value) in members {
        if value == &json!({"$absent": true}) {
            object.as_object_mut().map(|object| object.remove(name));
        } else {
            object[name] = expand(value.clone());
        }
    }
}

/// Expands values that are too large for a file: `{"$repeat": "a", "times": 1000}` is a string, `{"$nest": 1000}` lists within lists.
fn expand(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(expand).collect(),
        Value::Object(members) => match (members.get("$repeat"), members.get("$nest")) {
            (Some(Value::String(text)), _) => text.repeat(members["times"].as_u64().unwrap_or(0) as usize).into(),
            (_, Some(depth)) => (0..depth.as_u64().unwrap_or(0)).fold(Value::Null, |inner, _| json!([inner])),
            _ => members.into_iter().map(|(name, value)| (name, expand(value))).collect(),
        },
        scalar => scalar,
    }
}

/// The answer in the format of a case's `expect`.
fn summary(object: &Value, response: PolicyResponse) -> Value {
    let mut summary = json!({"accepted": response.accepted});
    if let Some(code) = response.code {
        summary["code"] = code.into();
    }
    if let Some(message) = response.message {
        summary["message"] = lines(&message);
    }
    if let Some(mutated) = response.mutated_object {
        summary["patch"] = json!(json_patch::diff(object, &mutated));
    }
    if let Some(warnings) = response.warnings {
        summary["warnings"] = warnings.into();
    }
    if let Some(annotations) = response.audit_annotations {
        summary["audit"] = json!(annotations);
    }
    summary
}

fn lines(message: &str) -> Value {
    message.split('\n').collect()
}

fn compare(expected: &Value, actual: &Value) -> Result<()> {
    let shown = actual.to_string();
    // Text from a hostile request must reach a terminal neither unescaped nor in full length.
    let hostile =
        |c: char| c.is_control() || ('\u{200e}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
    ensure!(
        shown.len() < 8_192 && !shown.contains(hostile),
        "the answer is long or has control characters: {shown:.300}"
    );
    ensure!(expected == actual, "expected {expected:#}\nanswered {actual:#}");
    Ok(())
}
