//! The CRDs, as deploy/crds ships them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::{session::VDISession, template::VDITemplate};

/// The CRD of `VDISession`.
pub fn vdisession() -> CustomResourceDefinition {
    // A new session is Pending from its first moment without a write.
    with_default_status(VDISession::crd())
}

/// The CRD of `VDITemplate`.
pub fn vditemplate() -> CustomResourceDefinition {
    // A new template has no sessions from its first moment without a write.
    with_default_status(VDITemplate::crd())
}

/// What the status holds by default comes from the defaults of its fields.
fn with_default_status(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    if let Some(status) = property(&mut crd, "status") {
        status.default = Some(JSON(json!({})));
    }
    crd
}

fn property<'a>(crd: &'a mut CustomResourceDefinition, name: &str) -> Option<&'a mut JSONSchemaProps> {
    crd.spec.versions.first_mut()?.schema.as_mut()?.open_api_v3_schema.as_mut()?.properties.as_mut()?.get_mut(name)
}
