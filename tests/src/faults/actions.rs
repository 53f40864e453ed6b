//! What users and nodes do to sessions during faults.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use anyhow::Result;
use fastrand::Rng;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::sleep;
use vdi_api::desktop_pod::SESSION;

use super::length::Length;
use crate::{objects::session, test_namespace::TestNamespace};

/// Templates, named after how their sessions start and end.
pub const LASTING: &str = "lasting";
/// A failed session is removed after a second.
pub const BRIEF: &str = "brief";
/// Its pods never become ready, and the session fails after a second.
pub const STUCK: &str = "stuck";

/// The sessions that may exist, and whether they should last: nothing was done to end them.
pub struct Users<'a> {
    namespace: &'a TestNamespace,
    rng: Rng,
    most: usize,
    made: usize,
    lasting: BTreeMap<String, bool>,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Create,
    Suspend,
    Resume,
    Extend,
    Delete,
    Label,
    DeletePod,
    FailPod,
}

/// Frequent actions are listed several times.
const ACTIONS: [Action; 14] = [
    Action::Create,
    Action::Create,
    Action::Create,
    Action::Create,
    Action::Create,
    Action::Suspend,
    Action::Suspend,
    Action::Resume,
    Action::Resume,
    Action::Extend,
    Action::Delete,
    Action::Label,
    Action::DeletePod,
    Action::FailPod,
];

impl<'a> Users<'a> {
    pub fn new(namespace: &'a TestNamespace, seed: u64, length: Length) -> Self {
        Self { namespace, rng: Rng::with_seed(seed), most: length.sessions(), made: 0, lasting: BTreeMap::new() }
    }

    /// Acts repeatedly while `meanwhile` runs, and then as often as the length says.
    pub async fn act(&mut self, length: Length, meanwhile: impl Future<Output = Result<()>>) -> Result<()> {
        let mut meanwhile = pin!(meanwhile);
        let mut left = length.actions();
        let mut is_over = false;
        while left > 0 {
            self.act_once().await?;
            let pause = sleep(Duration::from_millis(self.rng.u64(0..60)));
            tokio::select! {
                result = &mut meanwhile, if !is_over => {
                    result?;
                    is_over = true;
                }
                () = pause => left -= usize::from(is_over),
            }
        }
        Ok(())
    }

    /// The sessions that should last.
    pub fn lasting(&self) -> impl Iterator<Item = String> {
        self.lasting.iter().filter(|(_, lasts)| **lasts).map(|(name, _)| name.clone())
    }

    async fn act_once(&mut self) -> Result<()> {
        let names: Vec<String> = self.lasting.keys().cloned().collect();
        let action = self.rng.choice(ACTIONS).unwrap_or(Action::Create);
        let result = match (action, self.rng.choice(&names)) {
            (Action::Create, _) | (_, None) if names.len() < self.most => self.create().await,
            (Action::Create, _) | (_, None) => Ok(()),
            (Action::Suspend, Some(name)) => self.change(name, json!({ "spec": { "suspend": true } })).await,
            (Action::Resume, Some(name)) => self.change(name, json!({ "spec": { "suspend": false } })).await,
            (Action::Extend, Some(name)) => self.change(name, json!({ "spec": { "timeout": "9h" } })).await,
            (Action::Label, Some(name)) => {
                let labels = json!({ "label": self.rng.u8(..).to_string() });
                self.change(name, json!({ "metadata": { "labels": labels } })).await
            }
            (Action::Delete, Some(name)) => {
                self.lasting.remove(name);
                self.namespace.sessions.delete(name, &DeleteParams::default()).await.map(drop)
            }
            (Action::DeletePod, Some(name)) => self.delete_pod(name).await,
            (Action::FailPod, Some(name)) => self.fail_pod(name).await,
        };
        match result {
            // It is gone already, or somebody else has changed it.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(kube::Error::Api(status)) if status.code < 500 => Err(kube::Error::Api(status).into()),
            // The API server may be down.
            _ => Ok(()),
        }
    }

    async fn create(&mut self) -> kube::Result<()> {
        let name = format!("desktop-{}", self.made);
        self.made += 1;
        let kind = self.rng.u8(..10);
        let mut session = session(&name, [BRIEF, STUCK, LASTING][usize::from(kind.min(2))]);
        session.spec.user = format!("{name}@example.com");
        let is_short = self.rng.u8(..4) == 0;
        if is_short {
            session.spec.timeout = format!("{}s", self.rng.u8(1..5));
        }
        // Without an answer, it may or may not exist.
        self.lasting.insert(name.clone(), false);
        self.namespace.sessions.create(&PostParams::default(), &session).await?;
        self.lasting.insert(name, kind >= 2 && !is_short);
        Ok(())
    }

    async fn change(&self, name: &str, patch: Value) -> kube::Result<()> {
        self.namespace.sessions.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    }

    async fn delete_pod(&mut self, session: &str) -> kube::Result<()> {
        self.lasting.insert(session.to_owned(), false);
        for pod in self.pods(session).await? {
            self.namespace.pods.delete(&pod, &DeleteParams::default().grace_period(0)).await?;
        }
        Ok(())
    }

    /// Like the kubelet when the container has ended.
    async fn fail_pod(&mut self, session: &str) -> kube::Result<()> {
        self.lasting.insert(session.to_owned(), false);
        for pod in self.pods(session).await? {
            self.namespace.pods.patch_status(&pod, &PatchParams::default(), &failed()).await?;
        }
        Ok(())
    }

    async fn pods(&self, session: &str) -> kube::Result<Vec<String>> {
        let list =
            self.namespace.pods.list_metadata(&ListParams::default().labels(&format!("{SESSION}={session}"))).await?;
        Ok(list.items.into_iter().filter_map(|pod| pod.metadata.name).collect())
    }
}

/// The status of a pod whose container has ended with an error.
pub fn failed() -> Patch<Value> {
    let end = json!({ "exitCode": 1, "reason": "Error", "message": "Xvnc: no screens found" });
    let container = json!({
        "name": "desktop", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": end },
    });
    let ready = json!({ "type": "Ready", "status": "False" });
    Patch::Merge(json!({ "status": { "phase": "Failed", "conditions": [ready], "containerStatuses": [container] } }))
}

/// Creates the templates.
pub async fn templates(client: Client) -> Result<()> {
    let api = Api::all(client);
    for (name, changes) in [
        (LASTING, json!({})),
        (BRIEF, json!({ "failedRetention": "1s" })),
        (
            STUCK,
            json!({ "failedRetention": "1s", "startDeadline": "1s", "image": "registry.example.com/never-ready:1" }),
        ),
    ] {
        crate::objects::create(&api, &crate::objects::template(name, changes)?).await?;
    }
    Ok(())
}
