//! AdmissionRequests for the policy: given as they are, or made from manifests as the API server would.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use vdi_api::GROUP;

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum Operation {
    Create,
    Update,
    Delete,
}

/// The parts of a request that a manifest doesn't contain.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Circumstances {
    /// The requester [default: the session's user; kubernetes-admin for templates]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// A group of the requester, besides system:authenticated; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,

    /// The operation [default: CREATE; UPDATE with --old]
    #[arg(long, value_enum, ignore_case = true)]
    operation: Option<Operation>,
}

/// Parses all YAML documents, or one JSON value.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(vec![value]);
    }
    let mut documents: Vec<Value> = serde_saphyr::from_multiple(text).context("it is neither YAML nor JSON")?;
    documents.retain(|document| !document.is_null());
    ensure!(!documents.is_empty(), "it is empty");
    Ok(documents)
}

impl Circumstances {
    /// The AdmissionRequest that `document` is, contains, or is the new object of. `old` has the stored objects.
    pub fn request(&self, mut document: Value, old: &[Value]) -> Result<Value> {
        let mut request = match document.get("request") {
            Some(_) => document["request"].take(),
            None if is_request(&document) => document,
            None => return self.made_of(document, old),
        };
        ensure!(request.is_object(), "its `request` is {request}, not an AdmissionRequest");
        ensure!(
            self.operation.is_none() && old.is_empty(),
            "an AdmissionRequest contains the operation and the old object: leave out --operation and --old"
        );
        let mut who = request["userInfo"].as_object().cloned().unwrap_or_default();
        who.extend(self.user.iter().map(|user| ("username".to_owned(), user.as_str().into())));
        if !self.groups.is_empty() {
            who.insert("groups".to_owned(), self.all_groups());
        }
        if !who.is_empty() {
            request["userInfo"] = who.into();
        }
        Ok(request)
    }

    fn made_of(&self, mut object: Value, old: &[Value]) -> Result<Value> {
        let (kind, resource, version) = recognize(&object)?;
        let is_session = kind == "VDISession";
        fill_in_namespace(&mut object, is_session);
        let name = object["metadata"]["name"].clone();
        let namespace = object["metadata"]["namespace"].clone();
        let user = object["spec"]["user"].as_str().filter(|_| is_session).unwrap_or("kubernetes-admin");
        let user = self.user.clone().unwrap_or_else(|| user.to_owned());

        let operation = match (self.operation, old.is_empty()) {
            (None, true) => Operation::Create,
            (None | Some(Operation::Update), false) => Operation::Update,
            (Some(Operation::Update), true) => bail!("--operation UPDATE requires the old object: --old FILE"),
            (Some(operation), true) => operation,
            (Some(_), false) => bail!("--old is for updates: leave out --operation"),
        };
        let (operation, object, old_object) = match operation {
            Operation::Create => ("CREATE", object, Value::Null),
            Operation::Update => ("UPDATE", object, find(old, &kind, &name, &namespace)?),
            Operation::Delete => ("DELETE", Value::Null, object),
        };
        let gvk = json!({"group": GROUP, "version": version, "kind": kind});
        let resource = json!({"group": GROUP, "version": version, "resource": resource});
        Ok(json!({
            "uid": "00000000-0000-0000-0000-000000000000",
            "kind": gvk,
            "resource": resource,
            "requestKind": gvk,
            "requestResource": resource,
            "name": name,
            "namespace": namespace,
            "operation": operation,
            "userInfo": {"username": user, "groups": self.all_groups()},
            "object": object,
            "oldObject": old_object,
            "dryRun": false,
        }))
    }

    fn all_groups(&self) -> Value {
        self.groups.iter().map(String::as_str).chain(["system:authenticated"]).collect()
    }
}

fn is_request(document: &Value) -> bool {
    document["operation"].is_string() && (document["kind"].is_object() || document["resource"].is_object())
}

/// The kind, resource and version of an object that the policy reviews.
fn recognize(object: &Value) -> Result<(String, &'static str, String)> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let resource = match kind {
        "VDISession" => "vdisessions",
        "VDITemplate" => "vditemplates",
        _ => bail!("expected a VDISession, a VDITemplate or an AdmissionRequest, found the kind {kind:?}"),
    };
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    match api_version.split_once('/') {
        Some((GROUP, version)) => Ok((kind.to_owned(), resource, version.to_owned())),
        _ => bail!("the apiVersion of a {kind} must be {GROUP}/{}, not {api_version:?}", vdi_api::VERSION),
    }
}

/// As kubectl and the API server do.
fn fill_in_namespace(object: &mut Value, is_namespaced: bool) {
    if is_namespaced && object["metadata"].is_object() && object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = "default".into();
    }
}

/// The old object of this kind and name.
fn find(old: &[Value], kind: &str, name: &Value, namespace: &Value) -> Result<Value> {
    let mut old = old.iter().cloned().map(|mut object| {
        fill_in_namespace(&mut object, kind == "VDISession");
        object
    });
    let is_it =
        |it: &Value| it["kind"] == kind && it["metadata"]["name"] == *name && it["metadata"]["namespace"] == *namespace;
    old.find(is_it).with_context(|| format!("--old has no {kind} named {name} (namespace {namespace})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "apiVersion: vdi.kasm.io/v1alpha1\nkind: VDISession\nmetadata: {name: a}\n\
                           spec: {user: alice@example.com}\n";

    fn request(circumstances: &Circumstances, text: &str, old: &[Value]) -> Result<Value> {
        circumstances.request(documents(text)?.remove(0), old)
    }

    #[test]
    fn a_manifest_is_created_by_its_user() {
        let request = request(&Circumstances::default(), SESSION, &[]).unwrap();
        assert_eq!(request["operation"], "CREATE");
        assert_eq!(request["kind"], json!({"group": GROUP, "version": "v1alpha1", "kind": "VDISession"}));
        assert_eq!(request["resource"]["resource"], "vdisessions");
        assert_eq!(request["userInfo"], json!({"username": "alice@example.com", "groups": ["system:authenticated"]}));
        assert_eq!((&request["name"], &request["namespace"]), (&json!("a"), &json!("default")));
        assert_eq!(request["object"]["metadata"], json!({"name": "a", "namespace": "default"}));
        assert_eq!(request["oldObject"], Value::Null);
    }

    #[test]
    fn a_template_is_created_by_an_administrator() {
        let template = "{apiVersion: vdi.kasm.io/v1alpha1, kind: VDITemplate, metadata: {name: a}}";
        let request = request(&Circumstances::default(), template, &[]).unwrap();
        assert_eq!(request["userInfo"]["username"], "kubernetes-admin");
        assert_eq!(request["namespace"], Value::Null);
    }

    #[test]
    fn an_update_has_the_old_object_and_a_delete_nothing_else() {
        let mut old = documents(&format!("{SESSION}---\n{}", SESSION.replace("name: a", "name: b"))).unwrap();
        let updated = request(&Circumstances::default(), SESSION, &old).unwrap();
        assert_eq!((&updated["operation"], &updated["oldObject"]), (&json!("UPDATE"), &updated["object"]));
        let error = request(&Circumstances::default(), SESSION, &old.split_off(1)).unwrap_err().to_string();
        assert!(error.contains("no VDISession named \"a\""), "{error}");

        let operation = |operation| Circumstances { operation: Some(operation), ..Circumstances::default() };
        let deleted = request(&operation(Operation::Delete), SESSION, &[]).unwrap();
        assert_eq!(deleted["object"], Value::Null);
        assert_eq!(deleted["oldObject"], updated["object"]);
        assert!(request(&operation(Operation::Update), SESSION, &[]).is_err());
        assert!(request(&operation(Operation::Create), SESSION, &old).is_err());
    }

    #[test]
    fn an_admission_request_stays_what_it_is_but_for_who_asks() {
        let plain = json!({"operation": "CREATE", "kind": {"kind": "VDISession"}, "object": {}, "x": 1});
        let who = Circumstances { user: Some("bob".to_owned()), groups: vec!["vdi-users".to_owned()], operation: None };
        for text in [plain.to_string(), json!({"kind": "AdmissionReview", "request": plain}).to_string()] {
            assert_eq!(request(&Circumstances::default(), &text, &[]).unwrap(), plain);
            let mut expected = plain.clone();
            expected["userInfo"] = json!({"username": "bob", "groups": ["vdi-users", "system:authenticated"]});
            assert_eq!(request(&who, &text, &[]).unwrap(), expected);
            assert!(request(&who, &text, std::slice::from_ref(&plain)).is_err());
        }
    }

    #[test]
    fn what_the_policy_is_not_asked_about_is_refused() {
        for text in [
            "",
            "---\n",
            "a: [",
            "7",
            "kind: Pod",
            "kind: VDISession",
            "{kind: VDISession, apiVersion: v1}",
            "request: 7",
        ] {
            assert!(request(&Circumstances::default(), text, &[]).is_err(), "{text}");
        }
    }
}
