//! Checks that the controller and the gateway have the rights they need, and no others: compares what deploy/install.yaml grants with
//! the requests in the audit logs of all tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    audit, installation,
    stack::{controller, gateway},
    target,
};

/// Rights that no test uses, and why they are granted nevertheless.
const UNUSED: &[(&str, &str)] = &[
    (
        "update vdisessions.vdi.kasm.io/finalizers",
        "asked for by the admission plugin OwnerReferencesPermissionEnforcement, which is on in OpenShift and not here",
    ),
    ("assign-user vdisessions.vdi.kasm.io", "asked for by the floor when the controller deletes a session"),
    (
        "extend vdisessions.vdi.kasm.io",
        "asked for by the floor and the admission policy when the gateway extends a session",
    ),
    ("manage-desktops vdisessions.vdi.kasm.io", "asked for by the floor when the controller makes a desktop"),
];

/// Removes the audit logs of earlier clusters.
pub fn forget_requests() -> Result<()> {
    for log in logs()? {
        std::fs::remove_file(&log).with_context(|| format!("removing {}", log.display()))?;
    }
    Ok(())
}

/// Compares the granted rights with the requests of all tests since [`forget_requests`].
pub fn check() -> Result<()> {
    let logs = logs()?;
    let objects = installation::objects()?;
    for (role, user) in [("vdi-controller", controller()), ("vdi-gateway", gateway())] {
        let granted = granted(objects.iter().filter(|object| object["metadata"]["name"] == role));
        let mut asked = Asked::default();
        for log in &logs {
            audit::events(log, &user)?.iter().for_each(|event| asked.add(event));
        }
        let problems = problems(&granted, &asked);
        ensure!(
            problems.is_empty(),
            "what deploy/install.yaml grants {role} is not what it needs:\n{}",
            problems.join("\n")
        );
    }
    Ok(())
}

/// The audit logs of all clusters in `target/clusters`, running or not. A full log is rotated to a similar name.
fn logs() -> Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for cluster in std::fs::read_dir(target().join("clusters")).into_iter().flatten() {
        for file in std::fs::read_dir(cluster?.path().join("logs")).into_iter().flatten() {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            if name.starts_with("audit") && name.ends_with(".log") {
                logs.push(file.path());
            }
        }
    }
    Ok(logs)
}

/// Rights, such as `patch vdisessions.vdi.kasm.io/status`.
type Rights = BTreeSet<String>;

fn right(verb: &str, group: &str, resource: &str, subresource: &str) -> String {
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    let subresource = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
    format!("{verb} {resource}{group}{subresource}")
}

/// What the roles among these objects grant.
fn granted<'a>(objects: impl Iterator<Item = &'a Value>) -> Rights {
    let mut rights = Rights::new();
    for role in objects.filter(|object| ["Role", "ClusterRole"].iter().any(|kind| object["kind"] == *kind)) {
        for rule in role["rules"].as_array().into_iter().flatten() {
            let words = |field: &str| {
                let words = rule[field].as_array().into_iter().flatten();
                words.map(|word| word.as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
            };
            for (group, resource) in words("apiGroups")
                .iter()
                .flat_map(|group| words("resources").into_iter().map(move |resource| (group, resource)))
            {
                let (resource, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
                rights.extend(words("verbs").iter().map(|verb| right(verb, group, resource, subresource)));
            }
        }
    }
    rights
}

#[derive(Default)]
struct Asked {
    allowed: Rights,
    /// With the number of requests.
    forbidden: BTreeMap<String, usize>,
}

impl Asked {
    /// An admission plugin's refusal is a 403 as well. The authorizer's decision is in an annotation.
    fn add(&mut self, event: &Value) {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        let (group, resource) = (word(&object["apiGroup"]), word(&object["resource"]));
        let right = right(&word(&event["verb"]), &group, &resource, &word(&object["subresource"]));
        match event["annotations"]["authorization.k8s.io/decision"].as_str() {
            Some("allow") => drop(self.allowed.insert(right)),
            Some("forbid") => *self.forbidden.entry(right).or_default() += 1,
            _ => {}
        }
    }
}

fn problems(granted: &Rights, asked: &Asked) -> Vec<String> {
    // An API server that has just started refuses allowed requests for a moment, until it has read the roles.
    let lacking = asked.forbidden.iter().filter(|(right, _)| !asked.allowed.contains(*right));
    let lacking = lacking.map(|(right, count)| format!("  it may not {right}, and tried {count} times"));
    let has_reason = |right: &&String| UNUSED.iter().any(|(unused, _)| unused == right);
    let unused = granted.difference(&asked.allowed).filter(|right| !has_reason(right));
    let unused = unused.map(|right| format!("  it may {right}, and never did"));
    lacking.chain(unused).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(verb: &str, resource: &str, decision: &str) -> Value {
        json!({ "verb": verb, "objectRef": { "resource": resource }, "annotations": { "authorization.k8s.io/decision": decision } })
    }

    #[test]
    fn rights_that_lack_and_rights_that_nobody_needs_are_named() {
        let roles = [
            json!({ "kind": "ClusterRole", "rules": [
                { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"] },
                { "apiGroups": ["vdi.kasm.io"], "resources": ["vdisessions/finalizers"], "verbs": ["update"] },
            ] }),
            json!({ "kind": "ServiceAccount" }),
        ];
        let granted = granted(roles.iter());
        let mut asked = Asked::default();
        for (verb, decision) in [("get", "forbid"), ("get", "allow"), ("list", "forbid"), ("list", "forbid")] {
            asked.add(&event(verb, "pods", decision));
        }
        let expected = ["  it may not list pods, and tried 2 times", "  it may delete pods, and never did"];
        assert_eq!(problems(&granted, &asked), expected);
    }

    #[test]
    fn the_rights_without_a_use_are_still_granted() {
        let objects = installation::objects().unwrap();
        let ours = ["vdi-controller", "vdi-gateway"];
        let granted =
            granted(objects.iter().filter(|object| ours.iter().any(|role| object["metadata"]["name"] == *role)));
        assert!(granted.contains("patch vdisessions.vdi.kasm.io/status"), "{granted:?}");
        for (right, _) in UNUSED {
            assert!(granted.contains(*right), "{right} is not granted any more");
        }
    }
}
