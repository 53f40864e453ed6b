//! Which requests the API server was sent, from its audit log.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;
use vdi_cluster::{ControlPlane, User};

/// How often each request was made, such as `create pods` or `patch vdisessions/status`.
pub type Requests = BTreeMap<String, usize>;

/// What a user asked for in a namespace, successful or not.
pub fn requests(cluster: &ControlPlane, user: &User, namespace: &str) -> Result<Requests> {
    let mut requests = Requests::new();
    for event in events(&cluster.audit_log(), user)? {
        if event["objectRef"]["namespace"] == namespace {
            *requests.entry(request(&event)).or_default() += 1;
        }
    }
    Ok(requests)
}

/// All of a user's requests, each an `audit.k8s.io/v1` Event.
pub fn events(log: &Path, user: &User) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(log).with_context(|| format!("can't read {}", log.display()))?;
    let mut events = Vec::new();
    // The last line may be half written.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let event: Value = serde_json::from_str(line)?;
        if event["user"]["username"] == user.name {
            events.push(event);
        }
    }
    Ok(events)
}

/// What a request was for, such as `patch vdisessions/status`.
pub fn request(event: &Value) -> String {
    let object = &event["objectRef"];
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let subresource = object["subresource"].as_str().map(|name| format!("/{name}")).unwrap_or_default();
    format!("{} {}{subresource}", word(&event["verb"]), word(&object["resource"]))
}
