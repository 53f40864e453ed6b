//! One builder for each kind of object that tests create, and helpers that wait for its state.

use std::fmt::Debug;

use anyhow::{Context, Result, bail};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, PostParams},
    runtime::wait::{await_condition, conditions},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vdi_api::{VDISession, VDISessionSpec, VDITemplate, VDITemplateSpec};

use crate::wait::{PATIENCE, within};

/// A session of alice's from a template.
pub fn session(name: &str, template: &str) -> VDISession {
    VDISession::new(
        name,
        VDISessionSpec {
            user: "alice@example.com".to_owned(),
            template: template.to_owned(),
            resources: Default::default(),
            timeout: "8h".to_owned(),
            suspend: false,
        },
    )
}

/// A template with a usual spec. `changes` replaces top-level fields of the spec.
pub fn template(name: &str, changes: Value) -> Result<VDITemplate> {
    let mut spec = json!({ "image": "registry.example.com/desktop:1", "port": 6080 });
    for (field, value) in changes.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    Ok(VDITemplate::new(name, serde_json::from_value::<VDITemplateSpec>(spec)?))
}

pub async fn create<K>(api: &Api<K>, object: &K) -> Result<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + serde::Serialize,
{
    api.create(&PostParams::default(), object).await.with_context(|| format!("creating {}", object.name_any()))
}

/// Deletes an object and waits until it is gone. Another one may have its name by then.
pub async fn delete<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let uid = api.get_metadata(name).await?.uid().with_context(|| format!("{name} has no uid"))?;
    api.delete(name, &DeleteParams::default()).await?;
    let gone = await_condition(api.clone(), name, conditions::is_deleted(&uid));
    within(&format!("{name} is gone"), gone).await??;
    Ok(())
}

pub async fn wait_gone<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let gone = await_condition(api.clone(), name, |object: Option<&K>| object.is_none());
    within(&format!("{name} is gone"), gone).await??;
    Ok(())
}

/// Waits until `reached` holds for an object. The error names `what` was expected and shows the object instead.
pub async fn wait_for<K>(api: &Api<K>, name: &str, what: &str, reached: impl Fn(&K) -> bool) -> Result<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let condition = |object: Option<&K>| object.is_some_and(&reached);
    match tokio::time::timeout(PATIENCE, await_condition(api.clone(), name, condition)).await {
        Ok(found) => found?.with_context(|| format!("{name} vanished")),
        Err(_) => bail!("{name} is not {what} after {PATIENCE:?}, but {:#?}", api.get_opt(name).await?),
    }
}
