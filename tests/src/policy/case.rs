//! Sample cases: a request, settings, and what the policy has to say to them. A file's name is the sentence it proves.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{PolicyHost, PolicyResponse};

/// A case of `validate`. Without anything else it is the creation of [`valid_session`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Case {
    /// Replaces the session.
    object: Option<Value>,
    /// Replaces members of the session's spec; `{"$absent": true}` removes one.
    #[serde(default)]
    spec: Map<String, Value>,
    /// Makes it an update of a valid session whose spec has these members replaced.
    old_spec: Option<Map<String, Value>>,
    /// Replaces members of the AdmissionRequest.
    #[serde(default)]
    request: Map<String, Value>,
    #[serde(default = "no_settings")]
    settings: Value,
    /// `{"accepted", "code", "message": [line ...], "patch": [RFC 6902 ...], "warnings"}`; what is not there has to be absent.
    expect: Value,
}

/// A case of `validate_settings`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsCase {
    settings: Value,
    /// `{"valid", "message": [line ...]}`
    expect: Value,
}

fn no_settings() -> Value {
    json!({})
}

/// A session that has every field and breaks no rule.
pub fn valid_session() -> Value {
    json!({
        "apiVersion": "vdi.kasm.io/v1alpha1",
        "kind": "VDISession",
        "metadata": {"name": "alice-desktop", "namespace": "desktops"},
        "spec": {
            "user": "alice@example.com",
            "template": "ubuntu-desktop",
            "resources": {"gpu": 1, "memory": "4Gi"},
            "timeout": "8h",
        },
    })
}

/// The AdmissionRequest that creates `object`, as the API server sends it.
pub fn create(object: Value) -> Value {
    let kind = json!({"group": "vdi.kasm.io", "version": "v1alpha1", "kind": "VDISession"});
    let resource = json!({"group": "vdi.kasm.io", "version": "v1alpha1", "resource": "vdisessions"});
    json!({
        "uid": "5b0f4c1e-6f2e-4f0c-9a51-3f8f4f1d2a6b",
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
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
        let object = self.object.clone().map_or_else(|| session_with(&self.spec), expand);
        let mut request = create(object);
        if let Some(old_spec) = &self.old_spec {
            request["operation"] = "UPDATE".into();
            request["oldObject"] = session_with(old_spec);
        }
        replace(&mut request, &self.request);
        request
    }

    /// # Errors
    /// What is wrong, with what was expected and what the policy answered.
    pub fn check(&self, host: &PolicyHost) -> Result<()> {
        let request = self.request();
        let response = host.validate(&request, &self.settings)?;
        if let Some(mutated) = &response.mutated_object {
            let mut again = request.clone();
            again["object"] = mutated.clone();
            let again = host.validate(&again, &self.settings)?;
            ensure!(again.accepted && again.mutated_object.is_none(), "mutating it again is not the same: {again:?}");
        }
        compare(&self.expect, &summary(&request["object"], response))
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

/// Checks every case in a folder, and says how many there are.
///
/// # Errors
/// Every case that fails, with why.
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

fn session_with(spec: &Map<String, Value>) -> Value {
    let mut session = valid_session();
    replace(&mut session["spec"], spec);
    session
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

/// What would be too large for a file: `{"$repeat": "a", "times": 1000}` is a string, `{"$nest": 1000}` lists within lists.
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

/// The answer in the form of a case's `expect`.
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
    summary
}

fn lines(message: &str) -> Value {
    message.split('\n').collect()
}

fn compare(expected: &Value, actual: &Value) -> Result<()> {
    let shown = actual.to_string();
    // What a hostile request wrote must not reach a terminal as it is, nor fill it.
    let hostile =
        |c: char| c.is_control() || ('\u{200e}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
    ensure!(
        shown.len() < 8_192 && !shown.contains(hostile),
        "the answer is long or has control characters: {shown:.300}"
    );
    ensure!(expected == actual, "expected {expected:#}\nanswered {actual:#}");
    Ok(())
}
