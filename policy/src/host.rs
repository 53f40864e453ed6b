//! Calls to the policy server, which asks the API server. The policy makes them only when a rule needs the answer.

use serde_json::{Value, json};
use vdi_api::{GROUP, VERSION};

use crate::{field, request::Requester};

/// Answers the policy's calls: Kubewarden's [host capabilities], or a test.
///
/// [host capabilities]: https://docs.kubewarden.io/reference/spec/host-capabilities/kubernetes
pub trait Host {
    /// Calls `kubernetes/<operation>`.
    ///
    /// # Errors
    /// The host's error: the policy may not make this call, or the API server doesn't answer.
    fn kubernetes(&self, operation: &str, request: &Value) -> Result<Value, String>;
}

/// A permission on sessions that RBAC grants by a verb or subresource of its own.
#[derive(Clone, Copy, Debug)]
pub enum Right {
    /// To act on other users' sessions.
    AssignUser,
    /// To change `spec.timeout` of other users' sessions.
    Extend,
    /// To delay the deletion of a session, or to leave its pod behind. Kubernetes requires this too, in its admission plugin
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

/// Whether RBAC grants the requester a permission on the sessions of a namespace, by a SubjectAccessReview.
///
/// # Errors
/// When there is no answer, or a malformed one.
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

/// All sessions of the cluster, with only the fields that are needed to count.
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

/// Looks for a VDITemplate. The host doesn't distinguish a missing template from an unreadable one.
///
/// # Errors
/// As [`may`], and when it isn't found.
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

/// Makes the host's text safe for a message: its first line, shortened, with control characters escaped. Further lines may be a
/// backtrace of the policy server.
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
