//! Custom resources, with a spec and a status.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::{object::HasSpec, object::HasStatus},
};
use serde::{Deserialize, de::DeserializeOwned};

/// A custom resource `K` with only the metadata that this product reads.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "K::Spec: DeserializeOwned, K::Status: DeserializeOwned")]
pub struct Custom<K: HasSpec + HasStatus> {
    #[serde(deserialize_with = "super::metadata::metadata")]
    pub metadata: ObjectMeta,
    pub spec: K::Spec,
    pub status: Option<K::Status>,
}

impl<K: Resource + HasSpec + HasStatus> Resource for Custom<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &K::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &K::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &K::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &K::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
