//! A session as the API server sends it, of whose metadata only what the controller reads is parsed and kept.

use kube::api::ObjectMeta;
use serde::Deserialize;
use vdi_api::{VDISession, VDISessionSpec, VDISessionStatus};

use super::lean::{self, same_resource};

#[derive(Clone, Debug, Deserialize)]
pub struct LeanSession {
    #[serde(deserialize_with = "lean::metadata")]
    metadata: ObjectMeta,
    spec: VDISessionSpec,
    status: Option<VDISessionStatus>,
}

same_resource!(LeanSession, VDISession);

impl From<LeanSession> for VDISession {
    fn from(LeanSession { metadata, spec, status }: LeanSession) -> Self {
        // kubectl keeps a copy of what was applied there.
        Self { metadata: ObjectMeta { annotations: None, ..metadata }, spec, status }
    }
}
