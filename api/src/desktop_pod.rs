//! What the controller writes on a session's pod, and others read there.

/// The label that everything which the controller makes has, with the value `vdiwarden`.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The label selector of that.
pub const OURS: &str = "app.kubernetes.io/managed-by=vdiwarden";
/// An annotation: the port that the desktop is served at.
pub const PORT: &str = "vdi.kasm.io/port";
/// An annotation: what is spoken there, by [`Protocol::name`](crate::Protocol::name).
pub const PROTOCOL: &str = "vdi.kasm.io/protocol";
/// An annotation: the path that opens the desktop.
pub const PATH: &str = "vdi.kasm.io/path";
/// An annotation: after how long without input the session ends; a duration as in `spec.timeout`.
pub const IDLE_TIMEOUT: &str = "vdi.kasm.io/idle-timeout";
/// An annotation: what counts as input, by [`Activity::name`](crate::Activity::name).
pub const ACTIVITY: &str = "vdi.kasm.io/activity";

/// An annotation: the name that the desktop asks for, where it asks for one, with a password.
pub const LOGIN_USER: &str = "vdi.kasm.io/login-user";
/// An annotation: which key that password follows from.
pub const LOGIN_KEY: &str = "vdi.kasm.io/login-key";

/// The pod of a session: the same name every time, so that creating it twice is creating it once.
pub fn pod_name(session: &str) -> String {
    format!("vdi-{session}")
}
