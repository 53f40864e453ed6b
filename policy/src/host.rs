//! What the policy asks its host, which asks the API server. Only what a rule needs for the request at hand.

use serde_json::{Value, json};
use vdi_api::{GROUP, VERSION};

use crate::{field, request::Requester};

/// Where the answers come from: Kubewarden's [host capabilities], or what a test says.
///
/// [host capabilities]: https://docs.kubewarden.io/reference/spec/host-capabilities/kubernetes
pub trait Host {
    /// Calls `kubernetes/<operation>`.
    ///
    /// # Errors
    /// What the host says: that the policy may not call it, or that the API server doesn't answer.
    fn kubernetes(&self, operation: &str, request: &Value) -> Result<Value, String>;
}

/// What RBAC may let somebody do to sessions, beside what every cluster knows.
#[derive(Clone, Copy, Debug)]
pub enum Right {
    /// To act on other people's sessions.
    AssignUser,
    /// To change the time that other people's sessions have.
    Extend,
    /// To keep a session from going, or its pod from going with it. Kubernetes asks for this too, by its admission plugin
    /// [OwnerReferencesPermissionEnforcement](https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/).
    Keep,
}

impl Right {
    fn verb_and_subresource(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::AssignUser => ("assign-user", None),
            Self::Extend => ("extend", None),
            Self::Keep => ("update", Some("finalizers")),
        }
    }
}

/// Whether RBAC lets the requester do it to the sessions of this namespace: a SubjectAccessReview.
///
/// # Errors
/// When there is no answer, or none that can be understood.
pub fn may(host: &dyn Host, requester: &Requester, right: Right, namespace: Option<&str>) -> Result<bool, String> {
    let (verb, subresource) = right.verb_and_subresource();
    let answer = ask(
        host,
        "can_i",
        &json!({
            "subject_access_review": {
                "user": requester.name,
                "groups": requester.groups,
                "resource_attributes": {
                    "verb": verb, "group": GROUP, "resource": "vdisessions", "namespace": namespace,
                    "name": null, "subresource": subresource, "version": null,
                },
            },
            "disable_cache": false,
        }),
    )?;
    let denied = answer.get("denied").and_then(Value::as_bool).unwrap_or(false);
    let allowed = answer.get("allowed").and_then(Value::as_bool);
    allowed.map(|allowed| allowed && !denied).ok_or_else(|| not_understood("can_i"))
}

/// All sessions of the cluster, with as much of them as is needed to count.
///
/// # Errors
/// As [`may`].
pub fn sessions(host: &dyn Host) -> Result<Vec<Value>, String> {
    let answer = ask(
        host,
        "list_resources_all",
        &json!({
            "api_version": format!("{GROUP}/{VERSION}"),
            "kind": "VDISession",
            "label_selector": null,
            "field_selector": null,
            "field_masks": [
                "metadata.name", "metadata.namespace", "metadata.deletionTimestamp",
                "spec.user", "spec.suspend", "spec.resources.gpu", "status.phase", "status.podName",
            ],
        }),
    )?;
    match answer {
        Value::Object(mut list) => match list.remove("items") {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(not_understood("list_resources_all")),
        },
        _ => Err(not_understood("list_resources_all")),
    }
}

/// Looks for a VDITemplate. The host doesn't tell one that isn't there from one that can't be read.
///
/// # Errors
/// As [`may`], and when there is none.
pub fn find_template(host: &dyn Host, name: &str) -> Result<(), String> {
    let answer = ask(
        host,
        "get_resource",
        &json!({
            "api_version": format!("{GROUP}/{VERSION}"),
            "kind": "VDITemplate",
            "name": name,
            "namespace": null,
            "disable_cache": false,
            "field_masks": ["metadata.name"],
        }),
    )?;
    let found = answer.as_object().and_then(|object| field::at(object, "metadata.name")).and_then(Value::as_str);
    if found == Some(name) { Ok(()) } else { Err(not_understood("get_resource")) }
}

fn ask(host: &dyn Host, operation: &str, request: &Value) -> Result<Value, String> {
    host.kubernetes(operation, request).map_err(|why| readable(&why))
}

/// The host's words as they may stand in a message: their first line, not endless, and without what a terminal acts on.
/// Below it a policy server may have put a backtrace.
pub fn readable(words: &str) -> String {
    const SHOWN: usize = 500;
    let escaped = |c: char| match c {
        '\'' | '"' => c.to_string(),
        c => c.escape_debug().to_string(),
    };
    words.lines().next().unwrap_or_default().chars().take(SHOWN).map(escaped).collect()
}

fn not_understood(operation: &str) -> String {
    format!("unexpected answer from the host to kubernetes/{operation}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_words_stay_as_they_are_unless_a_terminal_would_act_on_them() {
        let plain = "Policy has not been granted access to the 'kubernetes/can_i' host capability. \"é\"";
        assert_eq!(readable(plain), plain);
        assert_eq!(readable("\u{1b}[2J\r\u{202e}\nStack backtrace:\n  0: main"), r"\u{1b}[2J\r\u{202e}");
        assert_eq!(readable(&"a".repeat(1 << 20)).len(), 500);
    }
}
