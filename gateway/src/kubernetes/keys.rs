//! The signing keys. Replicas share them through a Secret with one entry a key, named by its [`KeyId`]. Any replica
//! that sees that a new key is due creates it; the API server lets only one of them succeed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, api::ObjectMeta, runtime::WatchStreamExt};
use tokio::{sync::watch, time::interval};
use vdi_service::{Aside, Lenient, Need, PartialSecret, Pause, Secrets, trouble, unread, watch_one};

use crate::token::{Key, KeyError, KeyId, KeyRing, Schedule};

/// The longest time between two checks of the schedule. Changes of the Secret are seen at once, by a watch.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// The longest pause before an interrupted watch resumes.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

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
    need: Need,
    ring: watch::Sender<Option<Arc<KeyRing>>>,
}

#[derive(Debug, thiserror::Error)]
enum RotateError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Api(#[from] kube::Error),
}

impl KeyRotator {
    pub fn new(secrets: &Secrets, name: &str, schedule: Schedule) -> (Self, Keys) {
        let (sender, ring) = watch::channel(None);
        let Secrets { client, namespace, aside, needs } = secrets.clone();
        aside.expect::<PartialSecret>();
        let need = needs.announce(format!("the signing keys in the Secret {name}"));
        let secrets = Api::namespaced(client, &namespace);
        (Self { secrets, name: name.to_owned(), schedule, aside, need, ring: sender }, Keys { schedule, ring })
    }

    /// Never returns.
    pub async fn run(self) {
        let changes = watch_one(self.secrets.clone(), &self.name).backoff(Pause::up_to(LONGEST_PAUSE));
        let mut changes = std::pin::pin!(changes);
        let period = (self.schedule.rotation / 10).clamp(Duration::from_millis(100), CHECK_INTERVAL);
        let (mut clock, mut secret, mut has_keys) = (interval(period), None, false);
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(None)) => secret = Some(None),
                    // If it can't be parsed, nobody knows what is due, and the current keys stay valid.
                    Some(Ok(Some(found))) => secret = self.aside.only(found).map(Some),
                    Some(Err(error)) => {
                        self.need.lacks(&trouble::of_watch::<PartialSecret>(&error));
                        continue;
                    }
                    None => return tracing::error!("the watch of the signing keys has ended"),
                },
                _ = clock.tick() => {}
            }
            // Until the Secret has been read, nobody knows what is due.
            let Some(secret) = &secret else { continue };
            let rotated = self.rotate(secret.as_ref()).await;
            // Keys that can't be rotated are still good.
            if !has_keys && self.ring.borrow().is_some() {
                has_keys = true;
                self.need.is_met();
            }
            match rotated {
                Ok(()) if has_keys => self.need.is_met(),
                Ok(()) => {}
                Err(RotateError::Api(error)) => self.need.lacks(&trouble::of_request(&error)),
                Err(error) => self.need.lacks(&error.to_string()),
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
        let written = match before {
            // With the resourceVersion, so that this never overwrites what another replica wrote in the meantime.
            Some(PartialSecret { metadata, type_, .. }) => {
                let secret = Secret { metadata: metadata.clone(), type_: type_.clone(), data, ..Default::default() };
                unread::replace(&self.secrets, &self.name, &secret).await
            }
            None => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..Default::default() };
                unread::create(&self.secrets, &Secret { metadata, data, ..Default::default() }).await
            }
        };
        match written {
            Ok(()) => Ok(()),
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
