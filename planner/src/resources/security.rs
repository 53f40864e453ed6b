//! The template's [pod security standard], as security contexts.
//!
//! [pod security standard]: https://kubernetes.io/docs/concepts/security/pod-security-standards/

use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, SeccompProfile, SecurityContext};
use vdi_api::SecurityProfile;

use crate::model::Template;

pub fn of_pod(template: &Template) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: (template.security == SecurityProfile::Restricted).then_some(true),
        run_as_user: template.run_as_user,
        fs_group: template.fs_group,
        // Changing the owner of a home with many files would take minutes each time.
        fs_group_change_policy: template.fs_group.map(|_| "OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..Default::default() }),
        ..Default::default()
    }
}

/// The baseline keeps most default capabilities: an image that starts as root needs them to set itself up and to change its user.
/// Nothing needs raw packets, which can forge their source.
pub fn of_container(template: &Template) -> SecurityContext {
    let drop = |capability: &str| Some(Capabilities { drop: Some(vec![capability.to_owned()]), add: None });
    match template.security {
        SecurityProfile::Restricted => {
            SecurityContext { allow_privilege_escalation: Some(false), capabilities: drop("ALL"), ..Default::default() }
        }
        SecurityProfile::Baseline => SecurityContext { capabilities: drop("NET_RAW"), ..Default::default() },
    }
}
