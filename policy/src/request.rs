//! Which admission requests are judged, and what of them.

use serde_json::{Map, Value};
use vdi_api::{GROUP, Invalid, VERSION};

use crate::field;

pub type Object = Map<String, Value>;

/// A write of a VDISession, as the API server would store it.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    Create { object: &'a Object },
    Update { object: &'a Object, old: &'a Object },
}

impl<'a> Request<'a> {
    /// Reads an `admission.k8s.io/v1` AdmissionRequest. `None` when there is nothing in it to judge.
    ///
    /// # Errors
    /// The first thing that can't be read: `request.operation: found ...; allowed ...`.
    pub fn read(request: &'a Value) -> Result<Option<Self>, String> {
        let request = object(Some(request), "request")?;
        let kind = object(request.get("kind"), "request.kind")?;
        if text(kind, "group", "request.kind.group")? != GROUP
            || text(kind, "kind", "request.kind.kind")? != "VDISession"
        {
            return Ok(None);
        }
        let version = text(kind, "version", "request.kind.version")?;
        if version != VERSION {
            return Err(field::problem("request.kind.version", &Invalid::text(version, VERSION)));
        }
        // The API server takes nothing but the status from a write to it.
        if request.contains_key("subResource") && text(request, "subResource", "request.subResource")? == "status" {
            return Ok(None);
        }
        let new = || object(request.get("object"), "request.object");
        match text(request, "operation", "request.operation")? {
            "CREATE" => Ok(Some(Self::Create { object: new()? })),
            "UPDATE" => {
                Ok(Some(Self::Update { object: new()?, old: object(request.get("oldObject"), "request.oldObject")? }))
            }
            // No rule limits who may delete, and a session that breaks a rule must be removable. VDISessions have
            // nothing to connect to.
            "DELETE" | "CONNECT" => Ok(None),
            other => {
                let allowed = "CREATE, UPDATE, DELETE or CONNECT";
                Err(field::problem("request.operation", &Invalid::text(other, allowed)))
            }
        }
    }
}

fn object<'a>(value: Option<&'a Value>, path: &str) -> Result<&'a Object, String> {
    value.and_then(Value::as_object).ok_or_else(|| field::problem(path, &field::refused(value, "an object")))
}

fn text<'a>(object: &'a Object, name: &str, path: &str) -> Result<&'a str, String> {
    let value = object.get(name);
    value.and_then(Value::as_str).ok_or_else(|| field::problem(path, &field::refused(value, "a string")))
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
    fn creates_and_updates_of_sessions_are_judged() {
        assert!(matches!(Request::read(&request(json!({}))), Ok(Some(Request::Create { .. }))));
        let update = request(json!({"operation": "UPDATE", "oldObject": {}}));
        assert!(matches!(Request::read(&update), Ok(Some(Request::Update { .. }))));
    }

    #[test]
    fn there_is_nothing_to_judge_in_deletes_status_writes_and_other_kinds() {
        for changes in [
            json!({"operation": "DELETE", "object": null}),
            json!({"operation": "CONNECT"}),
            json!({"subResource": "status", "operation": "UPDATE"}),
            json!({"kind": {"group": "", "version": "v1", "kind": "Pod"}}),
            json!({"kind": {"group": GROUP, "version": VERSION, "kind": "VDITemplate"}}),
        ] {
            assert!(matches!(Request::read(&request(changes.clone())), Ok(None)), "{changes}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        for (changes, message) in [
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
            (json!({"object": []}), "request.object: found a list; allowed an object"),
            (json!({"subResource": 1}), "request.subResource: found 1; allowed a string"),
            (json!({"operation": "UPDATE"}), "request.oldObject: found nothing; allowed an object"),
        ] {
            assert_eq!(Request::read(&request(changes)).unwrap_err(), message);
        }
    }
}
