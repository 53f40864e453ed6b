use k8s_openapi::api::core::v1::ContainerStateTerminated;

/// Whether the last lines of a desktop's log are shown: more people than its user can read a status.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Log {
    Shown,
    Hidden,
}

impl Log {
    /// The exit code, and the last lines of the log: the kubelet keeps up to 2 KiB (see the pod's terminationMessagePolicy).
    /// More than one line starts on a line of its own.
    pub fn last_words(self, end: &ContainerStateTerminated) -> String {
        const LINES: usize = 20;
        let reason = end.reason.as_deref().unwrap_or("no reason given");
        let what = format!("exit code {} ({reason})", end.exit_code);
        let message = end.message.as_ref().filter(|_| self == Self::Shown);
        let log: Vec<&str> = message.iter().flat_map(|text| text.trim().lines()).collect();
        match &log[log.len().saturating_sub(LINES)..] {
            [] => what,
            [line] => format!("{what}: {line}"),
            lines => format!("{what}:\n{}", lines.join("\n")),
        }
    }
}
