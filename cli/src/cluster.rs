//! The cluster, as the kubeconfig and the options name it.

use anyhow::{Context, Result, anyhow};
use http::Request;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client, Config, Error,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use vdi_api::{Email, VDISession};

use crate::{options::ClusterOptions, words};

pub struct Cluster {
    pub client: Client,
    /// Of the sessions that commands are about.
    pub namespace: String,
}

impl Cluster {
    pub async fn connect(options: &ClusterOptions) -> Result<Self> {
        let selected = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
        let config = match &options.kubeconfig {
            Some(file) => Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &selected).await,
            None => Config::from_kubeconfig(&selected).await,
        };
        let config = config.context("can't find out which cluster: set KUBECONFIG or --kubeconfig, and --context")?;
        let namespace = options.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("can't use the cluster's address or credentials")?;
        Ok(Self { client, namespace })
    }

    pub fn sessions(&self) -> Api<VDISession> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A session, or the names of those that there are.
    pub async fn session(&self, name: &str) -> Result<VDISession> {
        match self.sessions().get(name).await {
            Err(Error::Api(status)) if status.code == 404 && status.reason == "NotFound" => {
                let there = self.names().await.unwrap_or_default();
                let there = match &there[..] {
                    [] => "there are none in this namespace".to_owned(),
                    names => format!("there are {}", names.join(", ")),
                };
                Err(anyhow!("there is no desktop {name:?} in namespace {}: {there}", self.namespace))
            }
            answer => answer.map_err(|error| words::explain(error, &self.namespace)),
        }
    }

    async fn names(&self) -> Result<Vec<String>> {
        let list = self.get(&format!("/apis/vdi.kasm.io/v1alpha1/namespaces/{}/vdisessions", self.namespace)).await?;
        let items = list["items"].as_array().into_iter().flatten();
        Ok(items.filter_map(|item| Some(item["metadata"]["name"].as_str()?.to_owned())).collect())
    }

    /// Changes a session that is as it was read.
    pub async fn patch(&self, session: &VDISession, spec: Value) -> Result<VDISession> {
        let name = session.metadata.name.as_deref().unwrap_or_default();
        let patch = json!({"metadata": {"resourceVersion": session.metadata.resource_version}, "spec": spec});
        let patched = self.sessions().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map_err(|error| words::explain(error, &self.namespace))
    }

    /// What is there, as JSON: one object that can't be parsed must not hide the others.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let request = Request::get(path).body(Vec::new())?;
        self.client.request(request).await.map_err(|error| words::explain(error, &self.namespace))
    }

    /// Who runs this, by the name that the cluster has for them.
    pub async fn user_name(&self) -> Result<String> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
        let review = review.map_err(|error| words::explain(error, &self.namespace))?;
        let user = review.status.and_then(|status| status.user_info).and_then(|info| info.username);
        user.context("the cluster doesn't say who you are")
    }

    /// Their e-mail address. Clusters may put a prefix before it, such as `oidc:`.
    pub async fn email(&self) -> Result<Email> {
        let name = self.user_name().await?;
        let after_prefix = name.rsplit_once(':').map_or(name.as_str(), |(_, rest)| rest);
        after_prefix.parse().map_err(|_| {
            anyhow!(
                "the cluster knows you as {name:?}, which is no e-mail address: say with --user whose desktop it is"
            )
        })
    }
}
