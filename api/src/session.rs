// Two printer columns of one type are not a duplicate.
#![allow(clippy::duplicated_attributes)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{email::Email, memory::Memory, session_name::SessionName, timeout::Timeout};

// The fields hold what the API server stored. They are parsed (Email, Gpus, Memory, Timeout) before use: one object that
// an older schema let through must not keep the others from being read.
/// A Linux desktop on a GPU, for one user.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "vdi.kasm.io",
    version = "v1alpha1",
    kind = "VDISession",
    plural = "vdisessions",
    shortname = "vdi",
    namespaced,
    derive = "PartialEq",
    status = "VDISessionStatus",
    doc = "A Linux desktop on a GPU, for one user.",
    printcolumn(name = "User", type_ = "string", json_path = ".spec.user"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    // A column of type `date` shows how long ago it was, and `<invalid>` for the future.
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        priority = 1
    ),
    validation = Rule::new(format!("self.metadata.name.matches('{}')", SessionName::PATTERN))
        .message(format!("metadata.name must be {}", SessionName::ALLOWED).as_str())
)]
#[serde(rename_all = "camelCase")]
pub struct VDISessionSpec {
    /// The e-mail address of the one person who may open the desktop.
    #[schemars(with = "Email")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub user: String,

    /// The name of the VDITemplate that says what desktop this is.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub template: String,

    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub resources: SessionResources,

    /// How long the desktop may run, counted from when it first runs. Raising it extends a running session.
    #[serde(default = "default_timeout")]
    #[schemars(with = "Timeout")]
    pub timeout: String,

    /// Gives the GPU back and keeps the session.
    #[serde(default)]
    pub suspend: bool,
}

/// What the desktop gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionResources {
    /// How many GPUs.
    #[serde(default = "default_gpu")]
    // The API server doesn't hold an int32 to its size unless it is told to.
    #[schemars(range(min = 1, max = i32::MAX))]
    pub gpu: i32,

    /// How much memory: what is requested is also the limit.
    #[serde(default = "default_memory")]
    #[schemars(with = "Memory")]
    pub memory: String,
}

impl Default for SessionResources {
    fn default() -> Self {
        Self { gpu: default_gpu(), memory: default_memory() }
    }
}

fn default_gpu() -> i32 {
    1
}

fn default_memory() -> String {
    Memory::DEFAULT.to_owned()
}

fn default_timeout() -> String {
    Timeout::DEFAULT.to_owned()
}

/// Written by the controller alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VDISessionStatus {
    /// Where the session is in its life.
    #[serde(default)]
    pub phase: Phase,

    /// Where its owner opens the desktop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,

    /// When the desktop first ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// The next moment at which time alone ends what is going on: a start that takes too long, a desktop's timeout, a
    /// failed session's retention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,

    /// Which of the times that can end it `expiresAt` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Expiry>,

    /// `Ready` says in its reason and message what the session waits for or why it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The pod that is the desktop, in the session's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,

    /// Which version of its template the pod was made from: the template's `metadata.generation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_generation: Option<i64>,

    /// Set while it waits for a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueStatus>,

    /// How many of its pods were put away for what they did, such as using too much disk.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_pods: i64,
}

/// A session's place among those that wait for the same kind of GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueStatus {
    /// How many sessions come before it. Long queues are told in steps: it may be a few less by now.
    pub ahead: i64,
    /// Since when it waits.
    pub since: Time,
}

fn is_zero(count: &i64) -> bool {
    *count == 0
}

/// Which time it is that ends what is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Expiry {
    // No doc comments on the variants, as for `Phase`.
    // spec.timeout after the desktop first ran.
    Timeout,
    // The template's maxTimeout, which is less.
    MaxTimeout,
    // The template's idleTimeout after the last input.
    Idle,
    // A start that takes too long.
    StartDeadline,
    // The removal of a failed session.
    FailedRetention,
}

impl VDISessionStatus {
    pub fn ready(&self) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == "Ready")
    }
}

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    // No doc comments on the variants: they would turn the schema's enum into a `oneOf`, which is not structural.
    // There is no pod yet, or it has no node.
    #[default]
    Pending,
    // The pod has a node.
    Creating,
    // The pod is ready.
    Running,
    // The session is being taken down.
    Terminating,
    // The session can't run, and holds no GPU.
    Failed,
}
