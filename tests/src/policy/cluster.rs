use anyhow::{Context, Result};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::capabilities::{Capabilities, denied};

/// Asks a real API server, with the permissions of the policy server. It caches nothing, whereas Kubewarden caches some
/// answers for 5 s.
pub struct ClusterCapabilities {
    client: Client,
    runtime: Handle,
}

impl ClusterCapabilities {
    /// Must be called on the client's runtime, which must not block on the answers itself.
    pub fn new(client: Client) -> Self {
        Self { client, runtime: Handle::current() }
    }

    async fn answer(&self, capability: &str, request: &Value) -> Result<Value> {
        match capability {
            "kubernetes/can_i" => self.can_i(&request["subject_access_review"]).await,
            "kubernetes/list_resources_all" => {
                // As in Kubewarden, an object that kube can't parse makes the whole list fail.
                let list = self.api(request)?.list(&ListParams::default()).await?;
                Ok(serde_json::to_value(list)?)
            }
            "kubernetes/get_resource" => {
                let name = request["name"].as_str().context("name")?;
                let object = self.api(request)?.get_opt(name).await?;
                // Kubewarden's message.
                let object = object.with_context(|| {
                    format!("Cannot find {}/{} named '{name}'", request["api_version"], request["kind"])
                })?;
                Ok(serde_json::to_value(object)?)
            }
            _ => Err(denied(capability)),
        }
    }

    async fn can_i(&self, review: &Value) -> Result<Value> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let resource = &review["resource_attributes"];
        let attributes = ResourceAttributes {
            group: text(&resource["group"]),
            name: text(&resource["name"]),
            namespace: text(&resource["namespace"]),
            resource: text(&resource["resource"]),
            subresource: text(&resource["subresource"]),
            verb: text(&resource["verb"]),
            ..Default::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: text(&review["user"]),
            groups: serde_json::from_value(review["groups"].clone())?,
            resource_attributes: Some(attributes),
            ..Default::default()
        };
        let review = SubjectAccessReview { spec, ..Default::default() };
        let review = Api::all(self.client.clone()).create(&PostParams::default(), &review).await?;
        Ok(json!(review.status))
    }

    fn api(&self, request: &Value) -> Result<Api<DynamicObject>> {
        let (group, version) =
            request["api_version"].as_str().and_then(|it| it.split_once('/')).context("api_version")?;
        let kind = GroupVersionKind::gvk(group, version, request["kind"].as_str().context("kind")?);
        Ok(Api::all_with(self.client.clone(), &ApiResource::from_gvk(&kind)))
    }
}

impl Capabilities for ClusterCapabilities {
    fn call(&self, capability: &str, request: &[u8]) -> Result<Vec<u8>> {
        let request = serde_json::from_slice(request)?;
        Ok(serde_json::to_vec(&self.runtime.block_on(self.answer(capability, &request))?)?)
    }
}
