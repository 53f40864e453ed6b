//! Which requests the API server was sent, from its audit log.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;
use vdi_cluster::{ControlPlane, User};

/// How often each request was made, such as `create pods` or `patch vdisessions/status`.
pub type Requests = BTreeMap<String, usize>;

/// What a user asked for in a namespace, successful or not.
pub fn requests(cluster: &ControlPlane, user: &User, namespace: &str) -> Result<Requests> {
    let log = cluster.audit_log();
    let text = std::fs::read_to_string(&log).with_context(|| format!("can't read {}", log.display()))?;
    let mut requests = Requests::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line)?;
        let object = &event["objectRef"];
        if event["user"]["username"] == user.name && object["namespace"] == namespace {
            let subresource = object["subresource"].as_str().map(|name| format!("/{name}")).unwrap_or_default();
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            *requests
                .entry(format!("{} {}{subresource}", word(&event["verb"]), word(&object["resource"])))
                .or_default() += 1;
        }
    }
    Ok(requests)
}
