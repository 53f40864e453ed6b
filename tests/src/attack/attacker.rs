use fastrand::Rng;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
        PropagationPolicy,
    },
    core::Request,
};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use vdi_api::VDISession;

use crate::{stack::mallory, test_namespace::TestNamespace};

/// Templates, named after what is special about their desktops.
pub const PLAIN: &str = "attack-plain";
/// Its network policy allows more than others.
pub const OPEN: &str = "attack-open";
const HOME: &str = "attack-home";
const OWN_HOME: &str = "attack-own-home";

pub fn templates(port: u16) -> [(&'static str, Value); 4] {
    let desktop = |more: Value| {
        let mut changes = json!({ "port": port, "path": "/vnc.html" });
        for (key, value) in more.as_object().into_iter().flatten() {
            changes[key] = value.clone();
        }
        changes
    };
    [
        (PLAIN, desktop(json!({}))),
        (OPEN, desktop(json!({ "network": { "egress": [{ "cidr": "10.20.0.0/16", "ports": [443] }] } }))),
        (HOME, desktop(json!({ "home": { "mountPath": "/home/user" } }))),
        (OWN_HOME, desktop(json!({ "home": { "mountPath": "/home/user", "scope": "Session" } }))),
    ]
}

/// Names of sessions: few, so that they collide, and some that collide with names derived from others.
const NAMES: [&str; 8] = ["a", "b", "desktops", "session", "home", "session-a", "alices", "login"];
const FINALIZERS: [&str; 4] = ["example.com/x", "foregroundDeletion", "orphan", "kubernetes"];

pub struct Attacker<'a> {
    namespace: &'a TestNamespace,
    client: Client,
    rng: Rng,
    /// The sessions that they created, even if they are gone.
    made: Vec<String>,
}

/// Whether the pod belongs to a session of the attacker, even a deleted one.
pub fn is_theirs(pod: &Pod) -> bool {
    pod.annotations().get("vdi.kasm.io/user") == Some(&mallory().name)
}

impl<'a> Attacker<'a> {
    pub fn new(client: Client, namespace: &'a TestNamespace, rng: Rng) -> Self {
        Self { namespace, client, rng, made: Vec::new() }
    }

    /// Makes a random attempt. Returns its description and its result.
    pub async fn attempt(&mut self) -> (String, kube::Result<()>) {
        match self.rng.u8(..20) {
            0..6 => self.create().await,
            6..12 => self.change(true).await,
            12..17 => self.delete().await,
            17..18 => self.change(false).await,
            _ => self.meddle().await,
        }
    }

    fn one_of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.rng.usize(..list.len())].clone()
    }

    /// The name of a session, most likely one of theirs.
    fn name(&mut self) -> String {
        match self.made.len() {
            0 => self.one_of(&NAMES).to_owned(),
            made => self.made[self.rng.usize(made.saturating_sub(4)..made)].clone(),
        }
    }

    async fn create(&mut self) -> (String, kube::Result<()>) {
        let user =
            self.one_of(&["mallory@example.com", "mallory@example.com", "MALLORY@example.com", "alice@example.com"]);
        let name = self.one_of(&NAMES);
        let mut session = json!({
            "apiVersion": "vdi.kasm.io/v1alpha1", "kind": "VDISession",
            "metadata": { "name": name },
            "spec": {
                "user": user,
                "template": self.one_of(&[PLAIN, OPEN, HOME, OWN_HOME, "none"]),
                "resources": { "gpu": self.one_of(&[1, 1, 1, 1, 2, 64]), "memory": self.one_of(&["1Gi", "2Gi", "4Gi", "900Pi"]) },
                "timeout": self.one_of(&["8h", "1s", "5s", "2540400h"]),
                "suspend": self.rng.u8(..5) == 0,
            },
        });
        if self.rng.bool() {
            merge(&mut session, self.metadata().await);
        }
        let what = format!("create {session}");
        let result = create(&self.client, &self.namespace.name, &session).await;
        self.made.extend(result.is_ok().then(|| name.to_owned()));
        (what, result)
    }

    /// Changes a session, one of theirs or another.
    async fn change(&mut self, theirs: bool) -> (String, kube::Result<()>) {
        let name = if theirs { self.name() } else { self.one_of(&["alices", "bobs"]).to_owned() };
        let patch = match self.rng.u8(..4) {
            0 => json!({ "spec": { "suspend": self.rng.bool() } }),
            1 => json!({ "spec": { "timeout": self.one_of(&["1s", "9h", "2540400h"]) } }),
            2 => json!({ "spec": { "user": "mallory@example.com", "resources": { "gpu": 8 } } }),
            _ => self.metadata().await,
        };
        let what = format!("change {name}: {patch}");
        if self.rng.u8(..12) == 0 {
            let status = Patch::Merge(json!({ "status": { "phase": "Failed" } }));
            let sessions: Api<VDISession> = Api::namespaced(self.client.clone(), &self.namespace.name);
            return (
                format!("fail {name}"),
                sessions.patch_status(&name, &PatchParams::default(), &status).await.map(drop),
            );
        }
        (what, self::patch(&self.client, &self.namespace.name, &name, &patch).await)
    }

    /// Hostile metadata that users may be able to set.
    async fn metadata(&mut self) -> Value {
        let labels = json!({
            "app.kubernetes.io/managed-by": "vdiwarden", "app.kubernetes.io/name": "vdi-desktop", "vdi.kasm.io/session": "alices",
        });
        let metadata = match self.rng.u8(..6) {
            0 => json!({ "labels": labels }),
            1 => {
                json!({ "annotations": { "vdi.kasm.io/user": "alice@example.com", "vdi.kasm.io/port": "22", "vdi.kasm.io/home": "x" } })
            }
            2 => json!({ "finalizers": [self.one_of(&FINALIZERS)] }),
            3 => json!({ "finalizers": null }),
            4 => json!({ "managedFields": [{
                "manager": "kubectl", "operation": "Update", "apiVersion": "vdi.kasm.io/v1alpha1", "fieldsType": "FieldsV1",
                "fieldsV1": { "f:spec": { "f:timeout": {} } }, "time": "9999-12-31T23:59:59Z",
            }] }),
            _ => {
                let alices =
                    self.namespace.sessions.get_metadata("alices").await.ok().and_then(|session| session.uid());
                json!({ "ownerReferences": [{
                    "apiVersion": "vdi.kasm.io/v1alpha1", "kind": "VDISession", "name": "alices", "controller": true,
                    "blockOwnerDeletion": true, "uid": alices.unwrap_or_else(|| "none".to_owned()),
                }] })
            }
        };
        json!({ "metadata": metadata })
    }

    async fn delete(&mut self) -> (String, kube::Result<()>) {
        use PropagationPolicy::{Background, Foreground, Orphan};
        let policy = self.one_of(&[Background, Foreground, Orphan, Orphan]);
        let params = DeleteParams { propagation_policy: Some(policy), ..Default::default() };
        if self.rng.u8(..8) == 0 {
            let sessions: Api<VDISession> = Api::namespaced(self.client.clone(), &self.namespace.name);
            let all = sessions.delete_collection(&params, &ListParams::default()).await;
            return (format!("delete all, {params:?}"), all.map(drop));
        }
        let name = if self.rng.u8(..8) == 0 { "bobs".to_owned() } else { self.name() };
        let what = format!("delete {name}, {params:?}");
        (what, send(&self.client, sessions(&self.namespace.name).delete(&name, &params)).await)
    }

    /// Touches objects that only the controller should write.
    async fn meddle(&mut self) -> (String, kube::Result<()>) {
        let (group, version, kind) = self.one_of(&[
            ("", "v1", "Pod"),
            ("", "v1", "PersistentVolumeClaim"),
            ("networking.k8s.io", "v1", "NetworkPolicy"),
        ]);
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace.name, &resource);
        let name = self.one_of(&["vdi-alices", "vdi-bobs", "vdi-desktops", "vdi-home-alice", "vdi-a"]);
        match self.rng.u8(..3) {
            0 => (format!("delete {kind} {name}"), api.delete(name, &DeleteParams::default()).await.map(drop)),
            1 => {
                let labels =
                    Patch::Merge(json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": null } } }));
                (format!("change {kind} {name}"), api.patch(name, &PatchParams::default(), &labels).await.map(drop))
            }
            _ => {
                let spec = match kind {
                    "Pod" => json!({ "containers": [{ "name": "mine", "image": "mine" }] }),
                    "NetworkPolicy" => json!({ "podSelector": {}, "ingress": [{}], "egress": [{}] }),
                    _ => json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } }),
                };
                let new = DynamicObject::new(name, &resource).data(json!({ "spec": spec }));
                (format!("create {kind} {name}"), api.create(&PostParams::default(), &new).await.map(drop))
            }
        }
    }
}

fn merge(object: &mut Value, more: Value) {
    for (key, value) in more["metadata"].as_object().into_iter().flatten() {
        object["metadata"][key] = value.clone();
    }
}

/// As JSON, ignoring the response: typed objects can't express everything.
async fn create(client: &Client, namespace: &str, session: &Value) -> kube::Result<()> {
    send(client, sessions(namespace).create(&PostParams::default(), session.to_string().into_bytes())).await
}

pub async fn patch(client: &Client, namespace: &str, name: &str, patch: &Value) -> kube::Result<()> {
    send(client, sessions(namespace).patch(name, &PatchParams::default(), &Patch::Merge(patch))).await
}

pub async fn delete(client: &Client, namespace: &str, name: &str) -> kube::Result<()> {
    send(client, sessions(namespace).delete(name, &DeleteParams::default())).await
}

fn sessions(namespace: &str) -> Request {
    Request::new(VDISession::url_path(&(), Some(namespace)))
}

async fn send(
    client: &Client,
    request: Result<hyper::Request<Vec<u8>>, kube::core::request::Error>,
) -> kube::Result<()> {
    client.request::<IgnoredAny>(request.map_err(kube::Error::BuildRequest)?).await.map(drop)
}
