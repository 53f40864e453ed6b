//! The rule table.

mod budget;
mod desktop;
mod identity;
mod immutable;
mod orphans;
mod session;
mod template;

use serde_json::Value;
use vdi_api::Invalid;

use crate::{
    host::Host,
    request::{Kind, Object, Request},
    settings::Settings,
    verdict::Code,
};

/// One rule. All rules run on every request, and one answer lists what each of them found.
pub struct Rule {
    /// What it is called in messages and in the setting `rules`. Never changes.
    pub id: &'static str,
    /// What it holds, in a sentence.
    pub about: &'static str,
    pub kind: Kind,
    /// The fields that it reads, one after the other.
    pub fields: &'static [&'static str],
    /// What it does unless `rules` says otherwise.
    pub mode: Mode,
    /// What a violation is to the client.
    pub code: Code,
    pub when: When,
    pub check: fn(&Field, &Context) -> Result<(), Invalid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A violation rejects the request.
    Enforce,
    /// A violation is a warning to the client.
    Warn,
    Off,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Off => "off",
        }
    }
}

/// On which requests a rule looks at a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On those that give it a value or change it: settings that have become stricter must not keep the controller from
    /// releasing a session that was fine when it was made. The API server's own validation ratchets in the same way
    /// (KEP-4008).
    Changed,
    /// On all, deletes included.
    Always,
}

/// A field as a rule sees it.
pub struct Field<'a> {
    pub path: &'static str,
    /// `None` when it is absent.
    pub value: Option<&'a Value>,
    /// What it was; `None` when the object is new. Where the rule looks at changes, never the same as `value`.
    pub old: Option<Option<&'a Value>>,
}

/// What a rule may look at besides its field.
pub struct Context<'a> {
    pub request: &'a Request<'a>,
    /// As it will be stored. On a delete, as it is stored.
    pub object: &'a Object,
    pub settings: &'a Settings,
    pub host: &'a dyn Host,
}

use {
    Code::{Forbidden, UnprocessableEntity as Unprocessable},
    Kind::{Session, Template},
    Mode::{Enforce, Warn},
    When::{Always, Changed},
};

/// In the order in which violations are listed.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    Rule {
        id: "session-name", kind: Session, fields: &["metadata.name"], mode: Enforce, code: Unprocessable, when: Changed,
        about: "The name leaves room for the names of the pod and its host, which are made from it.",
        check: session::name,
    },
    Rule {
        id: "user-format", kind: Session, fields: &["spec.user"], mode: Enforce, code: Unprocessable, when: Changed,
        about: "The user is an e-mail address with one plain domain, nothing invisible in it, and a domain that the site allows.",
        check: session::user_format,
    },
    Rule {
        id: "user-identity", kind: Session, fields: &["spec.user"], mode: Enforce, code: Forbidden, when: Always,
        about: "Who makes, changes or deletes a session is its user, or may `assign-user` on vdisessions.",
        check: identity::owner_or_delegate,
    },
    Rule {
        id: "no-orphans", kind: Session, fields: &["metadata.finalizers"], mode: Enforce, code: Forbidden, when: Always,
        about: "Nothing keeps a session that is deleted, or leaves its pod behind, and with it the GPU.",
        check: orphans::none,
    },
    Rule {
        id: "template-allowed", kind: Session, fields: &["spec.template"], mode: Enforce, code: Unprocessable, when: Changed,
        about: "The template is one that the site allows to the requester's groups, and exists if the site wants that.",
        check: template::allowed,
    },
    Rule {
        id: "gpu-range", kind: Session, fields: &["spec.resources.gpu"], mode: Enforce, code: Unprocessable, when: Changed,
        about: "The number of GPUs is within the site's range for the template and the requester's groups.",
        check: session::gpu_range,
    },
    Rule {
        id: "memory-range", kind: Session, fields: &["spec.resources.memory"], mode: Enforce, code: Unprocessable, when: Changed,
        about: "The memory is within the site's range for the template and the requester's groups.",
        check: session::memory_range,
    },
    Rule {
        id: "timeout-range", kind: Session, fields: &["spec.timeout"], mode: Enforce, code: Unprocessable, when: Changed,
        about: "The timeout is within the site's range for the template and the requester's groups.",
        check: session::timeout_range,
    },
    Rule {
        id: "immutable-fields", kind: Session, mode: Enforce, code: Unprocessable, when: Changed,
        fields: &["spec.user", "spec.template", "spec.resources.gpu", "spec.resources.memory"],
        about: "User, template and resources stay what they were when the session was made.",
        check: immutable::unchanged,
    },
    Rule {
        id: "sessions-per-user", kind: Session, fields: &["spec.user"], mode: Enforce, code: Forbidden, when: Changed,
        about: "The user has no more sessions than the site allows, in all namespaces together.",
        check: budget::sessions,
    },
    Rule {
        id: "gpus-per-user", kind: Session, fields: &["spec.resources.gpu", "spec.suspend"], mode: Enforce, code: Forbidden, when: Changed,
        about: "The user's sessions have no more GPUs than the site allows, in all namespaces together.",
        check: budget::gpus,
    },
    Rule {
        id: "image-of-template", kind: Template, fields: &["spec.image"], mode: Enforce, code: Unprocessable, when: Changed,
        about: "The image has a valid name and comes from a registry that the site allows.",
        check: desktop::image,
    },
    Rule {
        id: "image-digest", kind: Template, fields: &["spec.image"], mode: Warn, code: Unprocessable, when: Changed,
        about: "The image is pinned by a digest, so that nobody can put another one in its place.",
        check: desktop::image_digest,
    },
    Rule {
        id: "template-privileges", kind: Template, mode: Enforce, code: Unprocessable, when: Changed,
        fields: &[
            "spec.securityProfile", "spec.runAsUser", "spec.gpu.resourceName", "spec.gpu.tolerations", "spec.gpu.nodeSelector",
            "spec.podLabels", "spec.home.mountPath", "spec.network.egress",
        ],
        about: "The desktop gets no privileges, GPUs and nothing else as extended resource, no place on control-plane nodes, no labels of \
            others, no home over the system's files, and no way to a cloud's metadata service.",
        check: desktop::privileges,
    },
    Rule {
        id: "template-memory", kind: Template, fields: &["spec.sharedMemory"], mode: Enforce, code: Unprocessable, when: Changed,
        about: "The shared memory fits into the memory that a session of the template has unless it says otherwise.",
        check: desktop::shared_memory,
    },
    Rule {
        id: "template-endpoint", kind: Template, mode: Enforce, code: Unprocessable, when: Changed,
        fields: &["spec.port", "spec.path", "spec.probe.path", "spec.gpu.rendererPath"],
        about: "The port is one, and what is asked for there are plain absolute paths.",
        check: desktop::endpoint,
    },
];
