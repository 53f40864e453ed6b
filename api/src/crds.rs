//! The CRDs, as in deploy/chart/vdiwarden/files/crds.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::{session::VDISession, template::VDITemplate};

/// The CRD of `VDISession`.
pub fn vdisession() -> CustomResourceDefinition {
    // The default makes a new session Pending at once, without a write.
    with_default_status(VDISession::crd())
}

/// The CRD of `VDITemplate`.
pub fn vditemplate() -> CustomResourceDefinition {
    // The default gives a new template a count of 0 at once, without a write.
    with_default_status(VDITemplate::crd())
}

/// The default of the status, which the defaults of its fields then fill.
fn with_default_status(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    if let Some(status) = property(&mut crd, "status") {
        status.default = Some(JSON(json!({})));
    }
    crd
}

fn property<'a>(crd: &'a mut CustomResourceDefinition, name: &str) -> Option<&'a mut JSONSchemaProps> {
    crd.spec.versions.first_mut()?.schema.as_mut()?.open_api_v3_schema.as_mut()?.properties.as_mut()?.get_mut(name)
}
