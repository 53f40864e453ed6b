//! The labels and annotations of a session's objects. The controller writes them; the gateway, the network policies and the
//! admission policies read them.

/// Label of everything that the controller creates; its value is `vdiwarden`.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Selects [`MANAGED_BY`].
pub const MANAGED_BY_SELECTOR: &str = "app.kubernetes.io/managed-by=vdiwarden";
/// Label of what belongs to one session alone: the session's name, for people to read.
pub const SESSION: &str = "vdi.kasm.io/session";
/// Label of a session's pod: the session's uid, by which network policies select it. Another session may have the same name later.
pub const SESSION_UID: &str = "vdi.kasm.io/session-uid";

/// Annotation of pods and homes: whose they are.
pub const USER: &str = "vdi.kasm.io/user";
/// Annotation of sessions: the user name of whoever created it. Only the admission policy writes it.
pub const CREATED_BY: &str = "vdi.kasm.io/created-by";

/// Annotation of sessions: the user name of the person for whom the gateway wrote them last. Only the gateway writes it.
pub const ON_BEHALF_OF: &str = "vdi.kasm.io/on-behalf-of";
/// Annotation of sessions: that person's groups, one a line. Only the gateway writes it.
pub const ON_BEHALF_OF_GROUPS: &str = "vdi.kasm.io/on-behalf-of-groups";

/// Annotation of pods: the PersistentVolumeClaim that is its home.
pub const HOME: &str = "vdi.kasm.io/home";
/// Annotation of pods: how many of the session's pods failed before this one.
pub const FAILED_PODS: &str = "vdi.kasm.io/failed-pods";
/// Annotation of pods: the VDITemplate's name.
pub const TEMPLATE: &str = "vdi.kasm.io/template";
/// Annotation of pods: the VDITemplate's `metadata.generation`.
pub const TEMPLATE_GENERATION: &str = "vdi.kasm.io/template-generation";
/// Annotation of pods: the port that the desktop listens on.
pub const PORT: &str = "vdi.kasm.io/port";
/// Annotation of pods: the protocol on that port, as [`Protocol`](crate::Protocol) displays it.
pub const PROTOCOL: &str = "vdi.kasm.io/protocol";
/// Annotation of pods: the path that opens the desktop.
pub const PATH: &str = "vdi.kasm.io/path";
/// Annotation of pods: the path where the desktop publishes its renderer.
pub const RENDERER_PATH: &str = "vdi.kasm.io/renderer-path";
/// Annotation of pods: the session ends after this time without input; a duration as in `spec.timeout`.
pub const IDLE_TIMEOUT: &str = "vdi.kasm.io/idle-timeout";
/// Annotation of pods: what counts as input, as [`Activity`](crate::Activity) displays it.
pub const ACTIVITY: &str = "vdi.kasm.io/activity";
/// Annotation of pods: the longest time that a session may run; a duration.
pub const MAX_TIMEOUT: &str = "vdi.kasm.io/max-timeout";
/// Annotation of pods: how long the desktop may take to start; a duration.
pub const START_DEADLINE: &str = "vdi.kasm.io/start-deadline";
/// Annotation of pods: how long the session is kept once it has failed; a duration.
pub const FAILED_RETENTION: &str = "vdi.kasm.io/failed-retention";
/// Annotation of pods: `true` where the last lines of the desktop's log may be shown in the session's status.
pub const LOG_IN_STATUS: &str = "vdi.kasm.io/log-in-status";
/// Annotation of pods: the user name that the desktop asks for.
pub const LOGIN_USER: &str = "vdi.kasm.io/login-user";
/// Annotation of pods: which key the desktop's password is derived from.
pub const LOGIN_KEY: &str = "vdi.kasm.io/login-key";

/// Label of the Leases by which gateways remember the launch codes that have been used.
pub const USED_CODE: &str = "vdi.kasm.io/used-code";

/// The name of a session's pod: always the same, so that creating it twice is creating it once.
pub fn pod_name(session: &str) -> String {
    format!("vdi-{session}")
}
