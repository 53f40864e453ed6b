use fastrand::Rng;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
        PropagationPolicy,
    },
};
use serde_json::{Value, json};
use vdi_api::VDISession;

use crate::{objects::Space, stack::mallory};

/// Templates, by what is special about their desktops.
pub const PLAIN: &str = "attack-plain";
/// It reaches more than others.
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

/// What sessions are called: few names, so that they meet, and those that are made of something else's.
const NAMES: [&str; 8] = ["a", "b", "desktops", "session", "home", "session-a", "alices", "login"];
const FINALIZERS: [&str; 4] = ["example.com/x", "foregroundDeletion", "orphan", "kubernetes"];

pub struct Attacker<'a> {
    space: &'a Space,
    sessions: Api<DynamicObject>,
    client: Client,
    rng: Rng,
}

/// Whether the attacker has this pod, or had it before its session went.
pub fn is_theirs(pod: &Pod) -> bool {
    pod.annotations().get("vdi.kasm.io/user") == Some(&mallory().name)
}

impl<'a> Attacker<'a> {
    pub fn new(client: Client, space: &'a Space, rng: Rng) -> Self {
        let sessions = Api::namespaced_with(client.clone(), &space.name, &ApiResource::erase::<VDISession>(&()));
        Self { space, sessions, client, rng }
    }

    /// Tries something: what, and what came of it.
    pub async fn attempt(&mut self) -> (String, kube::Result<()>) {
        match self.rng.u8(..20) {
            0..7 => self.create().await,
            7..11 => self.change(true).await,
            11..15 => self.delete().await,
            15..17 => self.change(false).await,
            _ => self.meddle().await,
        }
    }

    fn one_of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.rng.usize(..list.len())].clone()
    }

    /// A name, of a session of theirs or not.
    fn name(&mut self) -> String {
        match self.rng.u8(..6) {
            0 => format!("x{}", self.rng.u8(..4)),
            _ => self.one_of(&NAMES).to_owned(),
        }
    }

    async fn create(&mut self) -> (String, kube::Result<()>) {
        let user =
            self.one_of(&["mallory@example.com", "mallory@example.com", "MALLORY@example.com", "alice@example.com"]);
        let mut session = json!({
            "metadata": { "name": self.name() },
            "spec": {
                "user": user,
                "template": self.one_of(&[PLAIN, OPEN, HOME, OWN_HOME, "none"]),
                "resources": { "gpu": self.one_of(&[1, 1, 2, 64]), "memory": self.one_of(&["1Gi", "4Gi", "900Pi"]) },
                "timeout": self.one_of(&["8h", "1s", "5s", "2540400h"]),
                "suspend": self.rng.u8(..5) == 0,
            },
        });
        if self.rng.bool() {
            merge(&mut session, self.metadata().await);
        }
        let what = format!("create {session}");
        (what, self.sessions.create(&PostParams::default(), &object(session)).await.map(drop))
    }

    /// A session of theirs, or another.
    async fn change(&mut self, theirs: bool) -> (String, kube::Result<()>) {
        let name = if theirs { self.name() } else { self.one_of(&["alices", "bobs"]).to_owned() };
        let patch = match self.rng.u8(..4) {
            0 => json!({ "spec": { "suspend": self.rng.bool() } }),
            1 => json!({ "spec": { "timeout": self.one_of(&["1s", "9h", "2540400h"]) } }),
            2 => json!({ "spec": { "user": "mallory@example.com", "resources": { "gpu": 8 } } }),
            _ => self.metadata().await,
        };
        let what = format!("change {name}: {patch}");
        let params = PatchParams::default();
        let result = match self.rng.u8(..8) {
            0 => {
                self.sessions
                    .patch_status(&name, &params, &Patch::Merge(json!({ "status": { "phase": "Failed" } })))
                    .await
            }
            1 => {
                self.sessions
                    .patch(&name, &PatchParams::apply("kubectl").force(), &Patch::Apply(applied(&name, patch)))
                    .await
            }
            _ => self.sessions.patch(&name, &params, &Patch::Merge(patch)).await,
        };
        (what, result.map(drop))
    }

    /// Whatever metadata lets a user say.
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
                let alices = self.space.sessions.get_metadata("alices").await.ok().and_then(|session| session.uid());
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
            let all = self.sessions.delete_collection(&params, &ListParams::default()).await;
            return (format!("delete all: {params:?}"), all.map(drop));
        }
        let name = if self.rng.u8(..5) == 0 { "bobs".to_owned() } else { self.name() };
        (format!("delete {name}: {params:?}"), self.sessions.delete(&name, &params).await.map(drop))
    }

    /// With what only the controller makes.
    async fn meddle(&mut self) -> (String, kube::Result<()>) {
        let (group, version, kind) = self.one_of(&[
            ("", "v1", "Pod"),
            ("", "v1", "PersistentVolumeClaim"),
            ("networking.k8s.io", "v1", "NetworkPolicy"),
        ]);
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.space.name, &resource);
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

fn applied(name: &str, mut patch: Value) -> DynamicObject {
    patch["metadata"]["name"] = json!(name);
    // It is not for those who apply to say.
    if let Some(metadata) = patch["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object(patch)
}

fn object(json: Value) -> DynamicObject {
    let mut object = DynamicObject::new("", &ApiResource::erase::<VDISession>(&()));
    object.metadata = serde_json::from_value(json["metadata"].clone()).unwrap_or_default();
    object.data = json!({ "spec": json["spec"] });
    object
}
