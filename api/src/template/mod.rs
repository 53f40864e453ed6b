// Two printer columns of one type are not a duplicate.
#![allow(clippy::duplicated_attributes)]

mod capacity;
mod catalog;
mod desktop;
mod gpu;
mod home;
mod network;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{activity::Activity, memory::Memory, timeout::Timeout};

pub use capacity::Capacity;
pub use catalog::Deprecation;
pub use desktop::{
    BasicAuth, CpuAmounts, EnvVar, EphemeralStorage, Probe, ProbeKind, Protocol, PullPolicy, SecurityProfile,
};
pub use gpu::GpuPlacement;
pub use home::{Home, HomeAccess, HomeScope};
pub use network::{NetworkAccess, Reachable};

// As in a VDISession, the fields hold strings as stored.
/// Describes a desktop. Administrators write it, and sessions refer to it. Changes apply to sessions that start later.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "vdi.kasm.io",
    version = "v1alpha1",
    kind = "VDITemplate",
    plural = "vditemplates",
    shortname = "vdit",
    derive = "PartialEq",
    status = "VDITemplateStatus",
    doc = "Describes a desktop. Administrators write it, and sessions refer to it.",
    printcolumn(name = "Display Name", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "GPU", type_ = "string", json_path = ".spec.gpu.resourceName"),
    printcolumn(name = "Free", type_ = "integer", json_path = ".status.capacity.free"),
    printcolumn(name = "Total", type_ = "integer", json_path = ".status.capacity.gpus"),
    printcolumn(name = "Waiting", type_ = "integer", json_path = ".status.capacity.waiting"),
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
    /// The name that people see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub display_name: Option<String>,

    /// What the desktop is for, in a sentence or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000))]
    pub description: Option<String>,

    /// A picture of the desktop: an https or data URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(https://|data:image/)"), length(max = 65536))]
    pub icon: Option<String>,

    /// Hides the template from people who choose one. Sessions can still refer to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,

    /// Set when there is a better template; new sessions report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<Deprecation>,

    /// The container image.
    #[schemars(length(min = 1, max = 1024))]
    pub image: String,

    /// Defaults to Kubernetes' own choice, by the image's tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,

    /// The names of image pull Secrets, in the sessions' namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<String>,

    /// The one port on which the image serves the desktop to browsers.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,

    /// The protocol on that port. With `https` the certificate may be self-signed.
    #[serde(default)]
    pub protocol: Protocol,

    /// The path that opens the desktop.
    #[serde(default = "desktop::default_path")]
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub path: String,

    /// For an image that requires HTTP basic authentication. Every session gets its own password, which the gateway sends for the
    /// users that it admits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,

    /// How to find out that the desktop is ready.
    #[serde(default)]
    pub probe: Probe,

    /// Environment variables of the container. `{user}`, `{session}` and `{namespace}` are replaced with those of the session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,

    /// CPU time. The session sets the memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuAmounts>,

    /// Space on the node's disk, limited so that no desktop fills it.
    #[serde(default)]
    pub ephemeral_storage: EphemeralStorage,

    /// The size of `/dev/shm`. It counts against the session's memory.
    #[serde(default = "default_shared_memory")]
    #[schemars(with = "Memory")]
    pub shared_memory: String,

    /// A volume for the user's files, which outlive the session. Without it, nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Home>,

    /// The kind of GPU, and the nodes.
    #[serde(default)]
    pub gpu: GpuPlacement,

    /// The PriorityClass of the pods. Among sessions that wait for a GPU, higher priorities come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,

    /// Further labels of the pods, such as Kueue's `kueue.x-k8s.io/queue-name`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,

    /// The pod security standard that the desktop meets.
    #[serde(default)]
    pub security_profile: SecurityProfile,

    /// With `false` the desktop gets its own [user namespace](https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/),
    /// so that root in it is an unprivileged user on the node. Runtime, kernel and the home's file system must support that.
    #[serde(default = "yes")]
    pub host_users: bool,

    /// The user ID that the container runs as, if not the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub run_as_user: Option<i64>,

    /// The group ID that owns the home's files, so that the desktop can write them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub fs_group: Option<i64>,

    /// What desktops may reach besides the Internet and DNS.
    #[serde(default, skip_serializing_if = "NetworkAccess::is_empty")]
    pub network: NetworkAccess,

    /// How long a desktop may go without input before its session ends. Unset: forever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Timeout>")]
    pub idle_timeout: Option<String>,

    /// Which messages from the desktop's page count as input: keyboard and pointer events of `rfb` (VNC) or `selkies`, `any`
    /// message, or `none`, where only the user's own confirmation counts. `auto` recognizes the first two; for other protocols it
    /// counts binary messages of six bytes or more.
    #[serde(default)]
    pub activity: Activity,

    /// The longest that a desktop may run, even if its session's `timeout` is longer or is raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Timeout>")]
    pub max_timeout: Option<String>,

    /// How long a desktop may take from being scheduled to being ready, before the session fails.
    #[serde(default = "default_start_deadline")]
    #[schemars(with = "Timeout")]
    pub start_deadline: String,

    /// Whether the session's status shows the last log lines of a desktop that crashed. Everybody who can read sessions in the
    /// namespace can read them there, and an image may log private data of the user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log_in_status: bool,

    /// How long a failed session is kept, so that its user can see why, before it is removed.
    #[serde(default = "default_failed_retention")]
    #[schemars(with = "Timeout")]
    pub failed_retention: String,
}

/// Written only by the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VDITemplateStatus {
    /// How many sessions refer to the template.
    #[serde(default)]
    pub sessions: i64,

    /// What is free for a new session, a few seconds old. Absent while that is unknown, and where Kueue decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
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
