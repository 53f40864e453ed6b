// Two printer columns of one type are not a duplicate.
#![allow(clippy::duplicated_attributes)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{email::Email, memory::Memory, session_name::SessionName, timeout::Timeout};

// The fields hold strings as stored. They are parsed (Email, Gpus, Memory, Timeout) only before use, so that one object that
// an older schema accepted doesn't prevent the others from being read.
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
    // Not of type `date`, which shows the age, and `<invalid>` for the future.
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

    /// The name of the VDITemplate that describes the desktop.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub template: String,

    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub resources: SessionResources,

    /// How long the desktop may run, counted from its first start. Raising it extends a running session.
    #[serde(default = "default_timeout")]
    #[schemars(with = "Timeout")]
    pub timeout: String,

    /// Releases the GPU and keeps the session and its home.
    #[serde(default)]
    pub suspend: bool,
}

/// The resources of the desktop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionResources {
    /// The number of GPUs.
    #[serde(default = "default_gpu")]
    // The API server doesn't enforce the range of an int32 by itself.
    #[schemars(range(min = 1, max = i32::MAX))]
    pub gpu: i32,

    /// The amount of memory, both request and limit.
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

/// Written only by the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VDISessionStatus {
    /// The phase of the session's life cycle.
    #[serde(default)]
    pub phase: Phase,

    /// The URL where the user opens the desktop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,

    /// When the desktop first became ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// The next deadline: of a start that takes too long, of the desktop's timeout, or of a failed session's retention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,

    /// Which deadline `expiresAt` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Expiry>,

    /// The reason and message of `Ready` explain what the session waits for, or why it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The desktop's pod, in the session's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,

    /// The `metadata.generation` of the template that the pod was created from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_generation: Option<i64>,

    /// Set while the session waits for a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueStatus>,

    /// How many of its pods were evicted for their own behavior, such as using too much disk space.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_pods: i64,
}

/// A session's place in the queue for one kind of GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueStatus {
    /// How many sessions are ahead. In long queues this number is updated in steps, so it may be a little too high.
    pub ahead: i64,
    /// When the session started to wait.
    pub since: Time,
}

fn is_zero(count: &i64) -> bool {
    *count == 0
}

/// The kind of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Expiry {
    // No doc comments on the variants, as for `Phase`.
    // spec.timeout, counted from the desktop's first start.
    Timeout,
    // The template's maxTimeout, which is shorter.
    MaxTimeout,
    // The template's idleTimeout after the last input.
    Idle,
    // The template's startDeadline.
    StartDeadline,
    // The removal of a failed session.
    FailedRetention,
    // Of a newer version, which was here before. The controller replaces it with the deadlines that it knows.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl VDISessionStatus {
    pub fn ready(&self) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == "Ready")
    }
}

/// The phase of a session's life cycle.
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
