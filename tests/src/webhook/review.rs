use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::policy::{Capabilities, PolicyHost, PolicyResponse};

/// Answers reviews.
pub struct Policy {
    pub host: Arc<PolicyHost>,
    pub settings: Value,
    pub capabilities: Arc<dyn Capabilities>,
}

/// The [AdmissionReview] that answers `review`. `None` if that isn't one.
///
/// [AdmissionReview]: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#webhook-request-and-response
pub fn answer(policy: &Policy, review: &Value) -> Option<Value> {
    let request = (review["apiVersion"] == "admission.k8s.io/v1").then(|| review.get("request")).flatten()?;
    let uid = request["uid"].as_str()?;
    let response = policy.host.validate(request, &policy.settings, policy.capabilities.clone());
    let response = response.unwrap_or_else(|error| PolicyResponse {
        message: Some(format!("internal server error: {error:#}")),
        code: Some(500),
        ..PolicyResponse::default()
    });
    Some(json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": admission_response(uid, &request["object"], response),
    }))
}

fn admission_response(uid: &str, object: &Value, response: PolicyResponse) -> Value {
    let mut answer = json!({"uid": uid, "allowed": response.accepted});
    if response.message.is_some() || response.code.is_some() {
        answer["status"] = json!({"message": response.message, "code": response.code});
    }
    if let Some(mutated) = response.mutated_object {
        let patch = json_patch::diff(object, &mutated);
        if !patch.is_empty() {
            answer["patchType"] = "JSONPatch".into();
            answer["patch"] = BASE64_STANDARD.encode(json!(patch).to_string()).into();
        }
    }
    if let Some(warnings) = response.warnings {
        answer["warnings"] = warnings.into();
    }
    if let Some(annotations) = response.audit_annotations {
        answer["auditAnnotations"] = json!(annotations);
    }
    answer
}
