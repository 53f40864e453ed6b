//! The signing keys. Replicas share them through a Secret with one entry a key, named by its [`KeyId`]. Any replica
//! that sees that a new key is due creates it; the API server lets only one of them succeed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
    core::Request,
    runtime::watcher::watch_object,
};
use serde::{Deserialize, de::IgnoredAny};
use tokio::{sync::watch, time::interval};
use vdi_service::{Aside, Lenient, lenient::metadata, same_resource};

use crate::token::{Key, KeyError, KeyId, KeyRing, Schedule};

/// The longest time between two checks of the schedule. Changes of the Secret are seen at once, by a watch.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The current keys.
#[derive(Clone)]
pub struct Keys {
    pub schedule: Schedule,
    ring: watch::Receiver<Option<Arc<KeyRing>>>,
}

impl Keys {
    /// `None` until the Secret has been read.
    pub fn ring(&self) -> Option<Arc<KeyRing>> {
        self.ring.borrow().clone()
    }
}

/// Follows the Secret, and adds and removes keys on schedule.
pub struct KeyRotator {
    secrets: Api<Lenient<PartialSecret>>,
    name: String,
    schedule: Schedule,
    aside: Arc<Aside>,
    ring: watch::Sender<Option<Arc<KeyRing>>>,
}

/// The parts of the Secret that are read, and written back.
#[derive(Clone, Debug, Deserialize)]
struct PartialSecret {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    data: Option<BTreeMap<String, ByteString>>,
    #[serde(rename = "type")]
    type_: Option<String>,
}

same_resource!(PartialSecret, Secret);

#[derive(Debug, thiserror::Error)]
enum RotateError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl KeyRotator {
    pub fn new(client: Client, namespace: &str, name: &str, schedule: Schedule, aside: Arc<Aside>) -> (Self, Keys) {
        let (sender, ring) = watch::channel(None);
        aside.expect::<PartialSecret>();
        let secrets = Api::namespaced(client, namespace);
        (Self { secrets, name: name.to_owned(), schedule, aside, ring: sender }, Keys { schedule, ring })
    }

    /// Never returns.
    pub async fn run(self) {
        #[expect(clippy::disallowed_methods, reason = "what is watched is Lenient")]
        let mut changes = std::pin::pin!(watch_object(self.secrets.clone(), &self.name));
        let period = (self.schedule.rotation / 10).clamp(Duration::from_millis(100), CHECK_INTERVAL);
        let (mut clock, mut secret) = (interval(period), None);
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(None)) => secret = Some(None),
                    // If it can't be parsed, nobody knows what is due, and the current keys stay valid.
                    Some(Ok(Some(found))) => secret = self.aside.only(found).map(Some),
                    Some(Err(error)) => {
                        tracing::warn!(%error, "the watch of the signing keys was interrupted; retrying");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    None => return tracing::error!("the watch of the signing keys has ended"),
                },
                _ = clock.tick() => {}
            }
            // Until the Secret has been read, nobody knows what is due.
            let Some(secret) = &secret else { continue };
            if let Err(error) = self.rotate(secret.as_ref()).await {
                tracing::warn!(%error, secret = self.name, "cannot rotate the signing keys");
            }
        }
    }

    /// Publishes the keys in the Secret, and makes the changes that are due.
    async fn rotate(&self, secret: Option<&PartialSecret>) -> Result<(), RotateError> {
        let mut data = secret.and_then(|secret| secret.data.clone()).unwrap_or_default();
        let keys: Vec<Key> = data.iter().filter_map(|(name, pkcs8)| parse(name, pkcs8)).collect();
        let ids: Vec<KeyId> = keys.iter().map(|key| key.id.clone()).collect();
        if !keys.is_empty() {
            self.ring.send_replace(Some(Arc::new(KeyRing::new(keys))));
        }
        let now = Timestamp::now();
        let due = self.schedule.changes(&ids, now);
        if !due.needs_new && due.to_remove.is_empty() {
            return Ok(());
        }
        for id in &due.to_remove {
            data.remove(&id.to_string());
        }
        if due.needs_new {
            let (key, pkcs8) = Key::generate(now)?;
            data.insert(key.id.to_string(), ByteString(pkcs8));
        }
        self.write(secret, data).await
    }

    /// The watch then shows the result. A conflict is no error: another replica was first, and its key will do.
    async fn write(
        &self,
        before: Option<&PartialSecret>,
        data: BTreeMap<String, ByteString>,
    ) -> Result<(), RotateError> {
        let data = Some(data);
        let request = Request::new(self.secrets.resource_url());
        let request = match before {
            // With the resourceVersion, so that this never overwrites what another replica wrote in the meantime.
            Some(PartialSecret { metadata, type_, .. }) => {
                let secret = Secret { metadata: metadata.clone(), type_: type_.clone(), data, ..Default::default() };
                request.replace(&self.name, &PostParams::default(), serde_json::to_vec(&secret)?)
            }
            None => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..Default::default() };
                let secret = Secret { metadata, data, ..Default::default() };
                request.create(&PostParams::default(), serde_json::to_vec(&secret)?)
            }
        };
        let client = self.secrets.clone().into_client();
        let written = client.request::<IgnoredAny>(request.map_err(kube::Error::BuildRequest)?).await;
        match written {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// An entry that is no key is somebody's mistake, and must not disable the other keys.
fn parse(name: &str, pkcs8: &ByteString) -> Option<Key> {
    let key = name.parse().map_err(|error| format!("{error}"));
    match key.and_then(|id| Key::from_pkcs8(id, &pkcs8.0).map_err(|error| error.to_string())) {
        Ok(key) => Some(key),
        Err(error) => {
            tracing::warn!(error, "ignoring an entry of the signing keys' Secret");
            None
        }
    }
}
