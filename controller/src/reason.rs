use std::fmt;

/// Why a session is where it is: the reason of its `Ready` condition. `docs/sessions.md` explains each to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    // Pending
    Scheduling,
    Suspended,
    SessionInvalid,
    TemplateNotFound,
    TemplateInvalid,
    Unschedulable,
    QuotaExceeded,
    PodRefused,
    PodNameTaken,
    // Creating
    Starting,
    ImagePullFailed,
    NotResponding,
    // Running
    Running,
    // Terminating
    Expired,
    Deleted,
    // Failed
    StartDeadlineExceeded,
    DesktopEnded,
    PodLost,
}

impl Reason {
    /// The steps of a session where all goes well. They make no event: an event is an API write too.
    pub const QUIET: [Self; 4] = [Self::Scheduling, Self::Starting, Self::Running, Self::Deleted];
    /// What is just as somebody asked for, and yet worth an event.
    pub const NORMAL: [Self; 2] = [Self::Suspended, Self::Expired];

    pub fn is_one_of(name: &str, reasons: &[Self]) -> bool {
        reasons.iter().any(|reason| reason.to_string() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the variants off this file, so that a new one can't be forgotten.
    #[test]
    fn every_reason_is_explained_in_the_docs() {
        let docs = include_str!("../../docs/sessions.md");
        let code = include_str!("reason.rs");
        let body = code.split("pub enum Reason {").nth(1).unwrap().split('}').next().unwrap();
        let names = body.lines().filter_map(|line| line.trim().strip_suffix(','));
        let missing: Vec<&str> = names.filter(|name| !docs.contains(&format!("| {name} |"))).collect();
        assert!(missing.is_empty(), "docs/sessions.md lacks {missing:?}");
        assert!(docs.contains(&format!("| {} |", Reason::PodLost)));
    }
}
