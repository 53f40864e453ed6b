//! Values that replicas of both programs share through a Secret. Whoever finds that there is none creates it with random contents;
//! the API server lets only one of them succeed, and all follow what it has. Once it is deleted, the same happens again.

use std::{collections::BTreeMap, fmt::Display, pin::pin, str::FromStr, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client, api::ObjectMeta, runtime::WatchStreamExt};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    Aside, Lenient, Pause,
    lenient::metadata,
    needs::{Need, Needs},
    same_resource, trouble, unread, watch_one,
};

/// The parts of a Secret that are read.
#[derive(Clone, Debug, Deserialize)]
pub struct PartialSecret {
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    pub data: Option<BTreeMap<String, ByteString>>,
    #[serde(rename = "type")]
    pub type_: Option<String>,
}

same_resource!(PartialSecret, Secret);

/// A value from a Secret as it is now, or from elsewhere. `None` until it has been read.
pub type Shared<T> = watch::Receiver<Option<T>>;

/// The Secrets in this program's own namespace.
#[derive(Clone)]
pub struct Secrets {
    /// May write whether or not this replica leads.
    pub client: Client,
    pub namespace: String,
    pub aside: Arc<Aside>,
    pub needs: Needs,
}

/// The longest pause before a watch resumes, and before it is tried again to create the Secret.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// The label of everything that vdiwarden creates. The floor expects it of the controller.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "vdiwarden");

impl Secrets {
    /// Follows the value at this key of the Secret's data, which is created if there is none.
    pub fn follow<T>(&self, name: &str, key: &'static str) -> Shared<T>
    where
        T: FromStr<Err: Display> + Send + Sync + 'static,
    {
        self.aside.expect::<PartialSecret>();
        let (value, shared) = watch::channel(None);
        let secrets = Api::namespaced(self.client.clone(), &self.namespace);
        let need = self.needs.announce(format!("the Secret {name}"));
        let follower = Follower { secrets, name: name.to_owned(), key, aside: self.aside.clone(), need, value };
        tokio::spawn(follower.run());
        shared
    }
}

struct Follower<T> {
    secrets: Api<Lenient<PartialSecret>>,
    name: String,
    key: &'static str,
    aside: Arc<Aside>,
    need: Need,
    value: watch::Sender<Option<T>>,
}

impl<T: FromStr<Err: Display>> Follower<T> {
    /// Never returns.
    async fn run(self) {
        let changes = watch_one(self.secrets.clone(), &self.name).backoff(Pause::up_to(LONGEST_PAUSE));
        let mut changes = pin!(changes);
        let mut pauses = Pause::up_to(LONGEST_PAUSE);
        // When to create it, while there is none. The watch then shows whose has become the one.
        let mut create_at = None;
        loop {
            let due = async {
                match create_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(Some(secret))) => {
                        create_at = None;
                        self.read(secret);
                    }
                    Some(Ok(None)) => {
                        pauses = Pause::up_to(LONGEST_PAUSE);
                        create_at = Some(Instant::now());
                    }
                    Some(Err(error)) => self.need.lacks(&trouble::of_watch::<PartialSecret>(&error)),
                    None => return tracing::error!(secret = self.name, "the watch of a Secret has ended"),
                },
                () = due => {
                    if let Err(reason) = self.create().await {
                        self.need.lacks(&reason);
                    }
                    create_at = pauses.next().map(|pause| Instant::now() + pause);
                }
            }
        }
    }

    /// A value that can't be used replaces none that can.
    fn read(&self, secret: Lenient<PartialSecret>) {
        match self.value_of(secret) {
            Ok(value) => {
                self.value.send_replace(Some(value));
                self.need.is_met();
            }
            Err(reason) => self.need.lacks(&reason),
        }
    }

    fn value_of(&self, secret: Lenient<PartialSecret>) -> Result<T, String> {
        let Self { name, key, .. } = self;
        // Nothing of the value itself: it may be a secret with a typing error.
        let wrong = |problem: &str| {
            format!(
                "the key {key} of the Secret {name} {problem}; mend it, or delete the Secret to have a new one made"
            )
        };
        let secret = self.aside.only(secret).ok_or_else(|| format!("the Secret {name} can't be parsed"))?;
        let value = secret.data.and_then(|mut data| data.remove(*key)).ok_or_else(|| wrong("is missing"))?;
        let text = std::str::from_utf8(&value.0).map_err(|_| wrong("is not text"))?;
        text.parse().map_err(|error| wrong(&format!("can't be used: {error}")))
    }

    async fn create(&self) -> Result<(), String> {
        let random = random().map_err(|_| "the system has no random numbers".to_owned())?;
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some([(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned())].into()),
                ..ObjectMeta::default()
            },
            data: Some([(self.key.to_owned(), ByteString(random.into_bytes()))].into()),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        match unread::create(&self.secrets, &secret).await {
            Ok(()) => self.need.report(&format!("created the Secret {} with random contents", self.name)),
            // Another replica was first.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(trouble::of_request(&error)),
        }
        Ok(())
    }
}

/// 256 bits as hexadecimal digits.
fn random() -> Result<String, ring::error::Unspecified> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}
