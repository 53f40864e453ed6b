//! Writes whose answers aren't parsed: a watch brings what was written as well, and somebody else may have made it unparseable.

use kube::{
    Api, Resource,
    api::PostParams,
    core::{Request, request::Error},
};
use serde::{Serialize, de::IgnoredAny};

/// Creates an object.
///
/// # Errors
/// When the API server refuses it or can't be reached.
pub async fn create<K: Resource + Clone>(api: &Api<K>, object: &impl Serialize) -> kube::Result<()> {
    send(api, object, |request, body| request.create(&PostParams::default(), body)).await
}

/// Replaces the object of this name. With a resourceVersion in it, never what somebody else wrote in the meantime.
///
/// # Errors
/// As [`create`].
pub async fn replace<K: Resource + Clone>(api: &Api<K>, name: &str, object: &impl Serialize) -> kube::Result<()> {
    send(api, object, |request, body| request.replace(name, &PostParams::default(), body)).await
}

async fn send<K: Resource + Clone>(
    api: &Api<K>,
    object: &impl Serialize,
    write: impl FnOnce(Request, Vec<u8>) -> Result<http::Request<Vec<u8>>, Error>,
) -> kube::Result<()> {
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let request = write(Request::new(api.resource_url()), body).map_err(kube::Error::BuildRequest)?;
    api.clone().into_client().request::<IgnoredAny>(request).await.map(drop)
}
