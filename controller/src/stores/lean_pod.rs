//! A pod, of which nothing is kept, nor even parsed, but what the controller reads: its place and its state. The rest is most of
//! its size, and reading it was most of what the controller did.

use std::{borrow::Cow, collections::BTreeMap, ops::Deref};

use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod, PodCondition, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
};
use kube::{Resource, api::ObjectMeta, core::NamespaceResourceScope};
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Read")]
pub struct LeanPod(Pod);

impl Deref for LeanPod {
    type Target = Pod;

    fn deref(&self) -> &Pod {
        &self.0
    }
}

#[derive(Deserialize)]
struct Read {
    metadata: Metadata,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    conditions: Option<Vec<PodCondition>>,
    container_statuses: Option<Vec<ContainerStatus>>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
}

impl From<Read> for LeanPod {
    fn from(Read { metadata, spec, status }: Read) -> Self {
        Self(Pod {
            metadata: ObjectMeta {
                name: metadata.name,
                namespace: metadata.namespace,
                uid: metadata.uid,
                resource_version: metadata.resource_version,
                creation_timestamp: metadata.creation_timestamp,
                deletion_timestamp: metadata.deletion_timestamp,
                annotations: metadata.annotations,
                owner_references: metadata.owner_references,
                ..Default::default()
            },
            spec: spec.map(|spec| PodSpec { node_name: spec.node_name, ..Default::default() }),
            status: status.map(|status| PodStatus {
                phase: status.phase,
                reason: status.reason,
                message: status.message,
                conditions: status.conditions,
                container_statuses: status.container_statuses,
                pod_ip: status.pod_ip,
                ..Default::default()
            }),
        })
    }
}

impl Resource for LeanPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        Pod::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        Pod::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        Pod::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}
