//! The admission requests that the policy reviews, and the parts of them that it reads.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};
use vdi_api::{GROUP, Invalid, VERSION};

use crate::field;

pub type Object = Map<String, Value>;

/// The kind of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Session,
    Template,
}

/// The operation on the object.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    Create {
        object: &'a Object,
    },
    Update {
        object: &'a Object,
        old: &'a Object,
    },
    Delete {
        old: &'a Object,
        /// Whether the dependents of the object stay behind.
        orphans: bool,
    },
}

/// Who makes the request.
#[derive(Clone, Debug)]
pub struct Requester<'a> {
    /// The user name in the cluster.
    pub name: &'a str,
    pub groups: Vec<&'a str>,
}

/// A request to review.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub kind: Kind,
    pub operation: Operation<'a>,
    pub namespace: Option<&'a str>,
    /// `None` in the requests of Kubewarden's background audit. The API server always sends a user.
    pub requester: Option<Requester<'a>>,
    /// Whether somebody else makes the request for the requester, see [`crate::broker`].
    pub is_brokered: bool,
}

/// An AdmissionRequest, with only the members that the policy reads. Others are skipped while parsing.
#[derive(Debug, Default)]
pub struct Wanted(pub Value);

const WANTED: &[&str] =
    &["kind", "subResource", "name", "namespace", "operation", "userInfo", "object", "oldObject", "options"];

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Wanted;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an AdmissionRequest")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Wanted, A::Error> {
                let mut request = Object::new();
                while let Some(name) = members.next_key::<Cow<str>>()? {
                    if WANTED.contains(&name.as_ref()) {
                        request.insert(name.into_owned(), members.next_value()?);
                    } else {
                        members.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Wanted(request.into()))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

impl<'a> Request<'a> {
    /// Reads an `admission.k8s.io/v1` AdmissionRequest. `None` when there is nothing to review.
    ///
    /// # Errors
    /// The first malformed member: `request.operation: found ...; allowed ...`.
    pub fn read(request: &'a Value) -> Result<Option<Self>, String> {
        let request = object(Some(request), "request")?;
        let gvk = object(request.get("kind"), "request.kind")?;
        if text(gvk, "group", "request.kind.group")? != GROUP {
            return Ok(None);
        }
        let kind = match text(gvk, "kind", "request.kind.kind")? {
            "VDISession" => Kind::Session,
            "VDITemplate" => Kind::Template,
            _ => return Ok(None),
        };
        let version = text(gvk, "version", "request.kind.version")?;
        if version != VERSION {
            return Err(field::problem("request.kind.version", &Invalid::text(version, VERSION)));
        }
        // A write to the status changes nothing else, and RBAC decides who may write it.
        if optional_text(request, "subResource", "request.subResource")? == Some("status") {
            return Ok(None);
        }
        let Some(operation) = operation(request)? else { return Ok(None) };
        let namespace = optional_text(request, "namespace", "request.namespace")?;
        Ok(Some(Self {
            kind,
            operation,
            namespace,
            requester: requester(request.get("userInfo"))?,
            is_brokered: false,
        }))
    }

    /// The new object; `None` on a delete.
    pub fn object(&self) -> Option<&'a Object> {
        match self.operation {
            Operation::Create { object } | Operation::Update { object, .. } => Some(object),
            Operation::Delete { .. } => None,
        }
    }

    /// The stored object; `None` on a create.
    pub fn old(&self) -> Option<&'a Object> {
        match self.operation {
            Operation::Create { .. } => None,
            Operation::Update { old, .. } | Operation::Delete { old, .. } => Some(old),
        }
    }
}

fn operation(request: &Object) -> Result<Option<Operation<'_>>, String> {
    let new = || object(request.get("object"), "request.object");
    let old = || object(request.get("oldObject"), "request.oldObject");
    match text(request, "operation", "request.operation")? {
        "CREATE" => Ok(Some(Operation::Create { object: new()? })),
        "UPDATE" => Ok(Some(Operation::Update { object: new()?, old: old()? })),
        // A deletecollection is admitted once without a name, and then once for each object.
        "DELETE"
            if optional_text(request, "name", "request.name")?.is_none() && is_absent(request.get("oldObject")) =>
        {
            Ok(None)
        }
        "DELETE" => Ok(Some(Operation::Delete { old: old()?, orphans: orphans(request.get("options"))? })),
        // These kinds have no subresource to connect to.
        "CONNECT" => Ok(None),
        other => {
            let allowed = "CREATE, UPDATE, DELETE or CONNECT";
            Err(field::problem("request.operation", &Invalid::text(other, allowed)))
        }
    }
}

/// Reads from DeleteOptions whether dependents are orphaned.
fn orphans(options: Option<&Value>) -> Result<bool, String> {
    if is_absent(options) {
        return Ok(false);
    }
    let options = object(options, "request.options")?;
    let policy = optional_text(options, "propagationPolicy", "request.options.propagationPolicy")?;
    let orphans = options.get("orphanDependents").filter(|value| !value.is_null());
    let path = "request.options.orphanDependents";
    let orphans = orphans.map(|value| {
        value.as_bool().ok_or_else(|| field::problem(path, &field::refused(Some(value), "true or false")))
    });
    Ok(policy == Some("Orphan") || orphans.transpose()? == Some(true))
}

fn requester(user_info: Option<&Value>) -> Result<Option<Requester<'_>>, String> {
    if is_absent(user_info) {
        return Ok(None);
    }
    let user_info = object(user_info, "request.userInfo")?;
    let name = optional_text(user_info, "username", "request.userInfo.username")?;
    let refused = |value| field::problem("request.userInfo.groups", &field::refused(value, "a list of strings"));
    let groups: Vec<_> = match user_info.get("groups") {
        groups if is_absent(groups) => Some(Vec::new()),
        groups => groups.and_then(Value::as_array).and_then(|groups| groups.iter().map(Value::as_str).collect()),
    }
    .ok_or_else(|| refused(user_info.get("groups")))?;
    // A requester without a name still has a group, of authenticated or of unauthenticated users.
    let is_nobody = name.is_none() && groups.is_empty();
    Ok((!is_nobody).then(|| Requester { name: name.unwrap_or_default(), groups }))
}

fn is_absent(value: Option<&Value>) -> bool {
    value.is_none_or(Value::is_null)
}

fn object<'a>(value: Option<&'a Value>, path: &str) -> Result<&'a Object, String> {
    value.and_then(Value::as_object).ok_or_else(|| field::problem(path, &field::refused(value, "an object")))
}

fn text<'a>(object: &'a Object, name: &str, path: &str) -> Result<&'a str, String> {
    let value = object.get(name);
    value.and_then(Value::as_str).ok_or_else(|| field::problem(path, &field::refused(value, "a string")))
}

/// `None` also when it is empty, because Go may or may not omit an empty string.
fn optional_text<'a>(object: &'a Object, name: &str, path: &str) -> Result<Option<&'a str>, String> {
    if is_absent(object.get(name)) {
        return Ok(None);
    }
    text(object, name, path).map(|text| Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(changes: Value) -> Value {
        let mut request = json!({
            "kind": {"group": GROUP, "version": VERSION, "kind": "VDISession"}, "operation": "CREATE", "object": {},
        });
        for (name, value) in changes.as_object().unwrap() {
            request[name] = value.clone();
        }
        request
    }

    #[test]
    fn writes_and_deletes_of_both_kinds_are_judged() {
        let template = json!({"group": GROUP, "version": VERSION, "kind": "VDITemplate"});
        for changes in [
            json!({}),
            json!({"operation": "UPDATE", "oldObject": {}}),
            json!({"operation": "DELETE", "object": null, "oldObject": {}}),
            json!({"kind": template}),
        ] {
            assert!(matches!(Request::read(&request(changes.clone())), Ok(Some(_))), "{changes}");
        }
    }

    #[test]
    fn nobody_asks_in_a_background_audit() {
        for user_info in [json!(null), json!({}), json!({"username": ""}), json!({"username": null, "groups": []})] {
            let request = request(json!({"userInfo": user_info}));
            assert!(Request::read(&request).unwrap().unwrap().requester.is_none(), "{user_info}");
        }
        for user_info in [json!({"username": "system:anonymous"}), json!({"groups": ["system:authenticated"]})] {
            let request = request(json!({"userInfo": user_info}));
            assert!(Request::read(&request).unwrap().unwrap().requester.is_some(), "{user_info}");
        }
    }

    #[test]
    fn there_is_nothing_to_judge_in_announcements_status_writes_and_other_kinds() {
        for changes in [
            json!({"operation": "DELETE", "object": null, "name": ""}),
            json!({"operation": "CONNECT"}),
            json!({"subResource": "status", "operation": "UPDATE"}),
            json!({"kind": {"group": "", "version": "v1", "kind": "Pod"}}),
            json!({"kind": {"group": GROUP, "version": VERSION, "kind": "VDIOther"}}),
        ] {
            assert!(matches!(Request::read(&request(changes.clone())), Ok(None)), "{changes}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        for (changes, message) in [
            (
                json!({"operation": "DELETE", "name": "a", "object": null}),
                "request.oldObject: found nothing; allowed an object",
            ),
            (json!({"userInfo": "alice"}), "request.userInfo: found \"alice\"; allowed an object"),
            (json!({"userInfo": {"username": 7}}), "request.userInfo.username: found 7; allowed a string"),
            (
                json!({"userInfo": {"username": "a", "groups": ["b", 7]}}),
                "request.userInfo.groups: found a list; allowed a list of strings",
            ),
            (json!({"kind": null}), "request.kind: found null; allowed an object"),
            (json!({"kind": {"group": 1}}), "request.kind.group: found 1; allowed a string"),
            (
                json!({"kind": {"group": GROUP, "version": "v2", "kind": "VDISession"}}),
                "request.kind.version: found \"v2\"; allowed v1alpha1",
            ),
            (
                json!({"operation": "PATCH"}),
                "request.operation: found \"PATCH\"; allowed CREATE, UPDATE, DELETE or CONNECT",
            ),
            (json!({"operation": 1}), "request.operation: found 1; allowed a string"),
            (
                json!({"operation": "DELETE", "oldObject": {}, "options": []}),
                "request.options: found a list; allowed an object",
            ),
            (
                json!({"operation": "DELETE", "oldObject": {}, "options": {"orphanDependents": 1}}),
                "request.options.orphanDependents: found 1; allowed true or false",
            ),
            (json!({"object": []}), "request.object: found a list; allowed an object"),
            (json!({"subResource": 1}), "request.subResource: found 1; allowed a string"),
            (json!({"operation": "UPDATE"}), "request.oldObject: found nothing; allowed an object"),
        ] {
            assert_eq!(Request::read(&request(changes)).unwrap_err(), message);
        }
    }
}
