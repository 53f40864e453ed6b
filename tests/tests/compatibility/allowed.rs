//! New rules and patterns, of which no comparison of schemas can tell whether they refuse an object that the last release accepted.

use crate::narrowing::Narrowing;

/// A rule or pattern that is new since the last release.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// Such as `vdisessions.vdi.kasm.io v1alpha1 spec.user`.
    pub path: &'static str,
    /// The rule or pattern itself.
    pub text: &'static str,
    /// Why every object that the last release accepted passes, or why those that don't have never worked.
    pub why: &'static str,
}

/// Empty after each release. An entry needs a line in CHANGELOG.md, too, if anybody can notice the change.
pub const ALLOWED: &[Allowed] = &[];

/// What keeps today's CRDs from following the last release's.
pub fn objections(found: &[Narrowing], allowed: &[Allowed]) -> Vec<String> {
    let is_allowed = |narrowing: &Narrowing, allowed: &Allowed| {
        allowed.path == narrowing.path && Some(allowed.text) == narrowing.undecided.as_deref()
    };
    let narrower = found.iter().filter(|narrowing| !allowed.iter().any(|allowed| is_allowed(narrowing, allowed)));
    let useless = allowed.iter().filter(|allowed| !found.iter().any(|narrowing| is_allowed(narrowing, allowed)));
    let unexplained = allowed.iter().filter(|allowed| allowed.why.is_empty());
    narrower
        .map(ToString::to_string)
        .chain(useless.map(|allowed| format!("{}: allowed, but not new: {}", allowed.path, allowed.text)))
        .chain(unexplained.map(|allowed| format!("{}: allowed without saying why: {}", allowed.path, allowed.text)))
        .collect()
}
