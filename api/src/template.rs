// Two printer columns of one type are not a duplicate.
#![allow(clippy::duplicated_attributes)]

mod catalog;
mod desktop;
mod gpu;
mod home;
mod network;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{activity::Activity, memory::Memory, timeout::Timeout};

pub use catalog::Deprecation;
pub use desktop::{
    BasicAuth, CpuAmounts, EnvVar, EphemeralStorage, Probe, ProbeKind, Protocol, PullPolicy, SecurityProfile,
};
pub use gpu::GpuPlacement;
pub use home::{Home, HomeAccess, HomeScope};
pub use network::{NetworkAccess, Reachable};

// As in a VDISession, the fields hold what the API server stored.
/// What a desktop is. Written by administrators, named by sessions. A change counts for sessions that start after it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "vdi.kasm.io",
    version = "v1alpha1",
    kind = "VDITemplate",
    plural = "vditemplates",
    shortname = "vdit",
    derive = "PartialEq",
    status = "VDITemplateStatus",
    doc = "What a desktop is. Written by administrators, named by sessions.",
    printcolumn(name = "Display Name", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "GPU", type_ = "string", json_path = ".spec.gpu.resourceName"),
    printcolumn(name = "Sessions", type_ = "integer", json_path = ".status.sessions"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
    validation = Rule::new(
        "!has(self.spec.basicAuth) || !has(self.spec.env) || !self.spec.env.exists(one, one.name == \
         self.spec.basicAuth.passwordEnv || one.name == self.spec.basicAuth.?userEnv.orValue(''))"
    )
    .message("spec.env sets a variable that spec.basicAuth sets too")
)]
#[serde(rename_all = "camelCase")]
pub struct VDITemplateSpec {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub display_name: Option<String>,

    /// What it is good for, in a sentence or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000))]
    pub description: Option<String>,

    /// A picture of it: an https or data URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(https://|data:image/)"), length(max = 65536))]
    pub icon: Option<String>,

    /// Not to be offered to people. Sessions may still name it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,

    /// Set when there is something better: new sessions say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<Deprecation>,

    /// The container image.
    #[schemars(length(min = 1, max = 1024))]
    pub image: String,

    /// Kubernetes' own default, by the image's tag, when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,

    /// The names of Secrets, in the sessions' namespaces, with which the image is pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<String>,

    /// The one port on which the desktop is served to browsers.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,

    /// What is spoken on that port. With `https` the certificate may be one that the image signed itself.
    #[serde(default)]
    pub protocol: Protocol,

    /// Where a browser starts.
    #[serde(default = "desktop::default_path")]
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub path: String,

    /// For an image that asks for a name and a password, by HTTP's basic authentication. Every session gets a password of its
    /// own, which the gateway gives for those whom it lets in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,

    /// How to tell that the desktop is up.
    #[serde(default)]
    pub probe: Probe,

    /// What the image is told through its environment. `{user}`, `{session}` and `{namespace}` stand for the session's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,

    /// Processor time. Memory is the session's to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuAmounts>,

    /// How much of the node's disk a desktop takes, so that none fills it for the others.
    #[serde(default)]
    pub ephemeral_storage: EphemeralStorage,

    /// The size of `/dev/shm`. It counts against the session's memory.
    #[serde(default = "default_shared_memory")]
    #[schemars(with = "Memory")]
    pub shared_memory: String,

    /// The user's own files, which outlive the session. Without, nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Home>,

    /// Which GPUs, and on which nodes.
    #[serde(default)]
    pub gpu: GpuPlacement,

    /// The PriorityClass: among sessions that wait for a GPU, those of a higher priority come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,

    /// More labels for the pods, such as Kueue's `kueue.x-k8s.io/queue-name`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,

    /// Which pod security standard the desktop keeps to.
    #[serde(default)]
    pub security_profile: SecurityProfile,

    /// With `false` the desktop has a [user namespace](https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/) of
    /// its own, so that root in it is nobody on its node. Runtime, kernel and the home's file system have to support that.
    #[serde(default = "yes")]
    pub host_users: bool,

    /// The user that the image runs as, when it is not the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub run_as_user: Option<i64>,

    /// The group that the home's files belong to, so that the desktop can write them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub fs_group: Option<i64>,

    /// What desktops reach besides the Internet and DNS.
    #[serde(default, skip_serializing_if = "NetworkAccess::is_empty")]
    pub network: NetworkAccess,

    /// How long a desktop may go without input before its session ends. Never, when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Timeout>")]
    pub idle_timeout: Option<String>,

    /// What of that which a desktop's page sends counts as input: what a person does with `rfb` (VNC) or `selkies`, `any` message,
    /// or `none`, so that only who says so is still there. `auto` knows the first two by what they say; of other protocols it
    /// counts binary messages of six bytes and more.
    #[serde(default)]
    pub activity: Activity,

    /// The longest that a desktop may run, whatever its session's `timeout` says and is raised to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Timeout>")]
    pub max_timeout: Option<String>,

    /// How long a desktop may take from getting a node to being up, before the session fails.
    #[serde(default = "default_start_deadline")]
    #[schemars(with = "Timeout")]
    pub start_deadline: String,

    /// Whether the last lines that a desktop wrote to its log before it crashed are told in its session's status. Whoever may read
    /// sessions of the namespace reads them there, and what an image logs may be its user's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log_in_status: bool,

    /// How long a failed session stays, so that its user sees why, before it is removed.
    #[serde(default = "default_failed_retention")]
    #[schemars(with = "Timeout")]
    pub failed_retention: String,
}

/// Written by the controller alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VDITemplateStatus {
    /// How many sessions name it.
    #[serde(default)]
    pub sessions: i64,
}

fn yes() -> bool {
    true
}

fn default_shared_memory() -> String {
    "256Mi".to_owned()
}

fn default_start_deadline() -> String {
    "5m".to_owned()
}

fn default_failed_retention() -> String {
    "1h".to_owned()
}
