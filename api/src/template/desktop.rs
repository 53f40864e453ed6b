//! The desktop's container.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use crate::{cpu::Cpu, memory::Memory, timeout::Timeout};

// No doc comments on enum variants: they would turn the schema into a `oneOf`, which is not structural.

/// The protocol that a desktop serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Display, EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Protocol {
    #[default]
    Http,
    Https,
}

/// When to pull the image, as in a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// A [pod security standard](https://kubernetes.io/docs/concepts/security/pod-security-standards/).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecurityProfile {
    #[default]
    Restricted,
    // For images that start as root, such as those with s6.
    Baseline,
}

/// The credentials that an image requires, by [RFC 7617](https://www.rfc-editor.org/rfc/rfc7617), and how it gets them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// The user name that the image requires.
    #[schemars(regex(pattern = "^[A-Za-z0-9._-]+$"), length(min = 1, max = 64))]
    pub user: String,

    /// The environment variable that passes the user name to the image, if the image needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub user_env: Option<String>,

    /// The environment variable that passes the password to the image.
    #[schemars(length(min = 1, max = 253))]
    pub password_env: String,
}

/// How to find out that a desktop is ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// `http`: a GET of `path` succeeds. `tcp`: the port is open; for images that require a password.
    #[serde(default)]
    pub kind: ProbeKind,

    #[serde(default = "default_path")]
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub path: String,

    /// Seconds between probes.
    #[serde(default = "default_period")]
    #[schemars(range(min = 1, max = 300))]
    pub period_seconds: i32,

    /// After this many failures in a row the desktop counts as not responding.
    #[serde(default = "default_failure_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: i32,

    /// After this time, a desktop that does not respond is restarted; what was open in it is lost. Unset: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Timeout>")]
    pub restart_after: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    #[default]
    Http,
    Tcp,
}

pub fn default_path() -> String {
    "/".to_owned()
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            kind: ProbeKind::Http,
            path: default_path(),
            period_seconds: default_period(),
            failure_threshold: default_failure_threshold(),
            restart_after: None,
        }
    }
}

fn default_period() -> i32 {
    2
}

fn default_failure_threshold() -> i32 {
    3
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    #[serde(default)]
    pub value: String,
}

/// CPU time, as in a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CpuAmounts {
    /// What the desktop is guaranteed. Defaults to the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Cpu>")]
    pub request: Option<String>,

    /// The most that the desktop gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Cpu>")]
    pub limit: Option<String>,
}

/// Space on the node's own disk, as in a container: for everything that a desktop writes outside of its home, including its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EphemeralStorage {
    /// The amount that the scheduler reserves on the node.
    #[serde(default = "default_storage_request")]
    #[schemars(with = "Memory")]
    pub request: String,

    /// A desktop that uses more is evicted, and its session gets a new one.
    #[serde(default = "default_storage_limit")]
    #[schemars(with = "Memory")]
    pub limit: String,
}

impl Default for EphemeralStorage {
    fn default() -> Self {
        Self { request: default_storage_request(), limit: default_storage_limit() }
    }
}

fn default_storage_request() -> String {
    "1Gi".to_owned()
}

// As large as a home, because without a home the user's files are here.
fn default_storage_limit() -> String {
    "10Gi".to_owned()
}
