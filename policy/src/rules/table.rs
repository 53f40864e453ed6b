use Code::{Forbidden, UnprocessableEntity as Unprocessable};
use Kind::{Session, Template};
use Mode::{Enforce, Warn};
use When::{Always, Changed};

use super::{
    budget, desktop, identity, immutable, orphans,
    rule::{Rule, When},
    session, template,
};
use crate::{mode::Mode, request::Kind, verdict::Code};

/// In the order in which violations are listed.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    Rule {
        id: "session-name", kind: Session, fields: &["metadata.name"], mode: Enforce, code: Unprocessable, when: Changed,
        about: "The name is short enough for the pod and host names that are derived from it.",
        check: session::name,
    },
    Rule {
        id: "user-format", kind: Session, fields: &["spec.user"], mode: Enforce, code: Unprocessable, when: Changed,
        about: "The user is a plain e-mail address, without invisible characters, in a domain that the site allows.",
        check: session::user_format,
    },
    Rule {
        id: "user-identity", kind: Session, fields: &["spec.user"], mode: Enforce, code: Forbidden, when: Always,
        about: "Only a session's user, or someone with the verb `assign-user` on vdisessions, may create, change or delete it.",
        check: identity::owner_or_delegate,
    },
    Rule {
        id: "on-behalf-of", kind: Session, fields: &["metadata.annotations"], mode: Enforce, code: Forbidden, when: Changed,
        about: "Only the gateway, and others that `identity.brokers` names, say for whom they write a session.",
        check: identity::no_claims,
    },
    Rule {
        id: "no-orphans", kind: Session, fields: &["metadata.finalizers"], mode: Enforce, code: Forbidden, when: Always,
        about: "No finalizer keeps a deleted session, and no delete leaves its pod behind: either would keep the GPU allocated.",
        check: orphans::none,
    },
    Rule {
        id: "template-allowed", kind: Session, fields: &["spec.template"], mode: Enforce, code: Unprocessable, when: Changed,
        about: "The site allows the template to the requester's groups, and it exists if the site requires that.",
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
        about: "User, template and resources don't change after the session is created.",
        check: immutable::unchanged,
    },
    Rule {
        id: "sessions-per-user", kind: Session, fields: &["spec.user"], mode: Enforce, code: Forbidden, when: Changed,
        about: "The user has no more sessions than the site allows, counted across all namespaces.",
        check: budget::sessions,
    },
    Rule {
        id: "gpus-per-user", kind: Session, fields: &["spec.resources.gpu", "spec.suspend"], mode: Enforce, code: Forbidden, when: Changed,
        about: "The user's sessions have no more GPUs than the site allows, counted across all namespaces.",
        check: budget::gpus,
    },
    Rule {
        id: "image-of-template", kind: Template, fields: &["spec.image"], mode: Enforce, code: Unprocessable, when: Changed,
        about: "The image has a valid name and comes from a registry that the site allows.",
        check: desktop::image,
    },
    Rule {
        id: "image-digest", kind: Template, fields: &["spec.image"], mode: Warn, code: Unprocessable, when: Changed,
        about: "The image is pinned by its digest, so that nobody can replace it.",
        check: desktop::image_digest,
    },
    Rule {
        id: "template-privileges", kind: Template, mode: Enforce, code: Unprocessable, when: Changed,
        fields: &[
            "spec.securityProfile", "spec.runAsUser", "spec.gpu.resourceName", "spec.gpu.tolerations", "spec.gpu.nodeSelector",
            "spec.podLabels", "spec.home.mountPath", "spec.network.egress",
        ],
        about: "The desktop gets no privileges, no extended resources but GPUs, no place on control-plane nodes, no labels that the \
            product reserves, no home over system files, and no access to a cloud metadata service.",
        check: desktop::privileges,
    },
    Rule {
        id: "template-memory", kind: Template, fields: &["spec.sharedMemory"], mode: Enforce, code: Unprocessable, when: Changed,
        about: "The shared memory is less than the default memory of the template's sessions.",
        check: desktop::shared_memory,
    },
    Rule {
        id: "template-endpoint", kind: Template, mode: Enforce, code: Unprocessable, when: Changed,
        fields: &["spec.port", "spec.path", "spec.probe.path", "spec.gpu.rendererPath"],
        about: "The port is valid, and the paths on it are plain and absolute.",
        check: desktop::endpoint,
    },
];
