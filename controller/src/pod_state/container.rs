use k8s_openapi::api::core::v1::ContainerStateTerminated;

use super::Log;
use crate::stores::lean_pod::Container;

/// Why a desktop that has a node is not up.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// The image can't be pulled, in the node's words.
    Image(String),
    /// The container can't be made, in the node's words.
    Container(String),
    /// It crashed, and the kubelet starts it again in place.
    Crash {
        /// So far, in this pod.
        crashes: i32,
        out_of_memory: bool,
        /// How it ended, and the last lines of its log where they are told.
        words: String,
    },
}

impl Trouble {
    pub(super) fn of(container: &Container, log: Log) -> Option<Self> {
        let waiting = container.state.waiting.as_ref();
        match waiting.and_then(|waiting| waiting.reason.as_deref()) {
            // The kubelet goes back and forth between these; for the user they are one.
            Some(
                "ErrImagePull"
                | "ImagePullBackOff"
                | "InvalidImageName"
                | "ErrImageNeverPull"
                | "RegistryUnavailable"
                | "SignatureValidationFailed"
                | "ImageInspectError",
            ) => return Some(Self::Image(words_of(waiting?.message.as_ref(), container))),
            Some("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => {
                return Some(Self::Container(words_of(waiting?.message.as_ref(), container)));
            }
            _ => {}
        }
        let end = container.state.terminated.as_ref().or(container.last_state.terminated.as_ref())?;
        let is_down = container.state.running.is_none();
        Some(Self::Crash {
            // The count is of the starts that followed one: it doesn't have the latest crash until then.
            crashes: container.restart_count + i32::from(is_down),
            out_of_memory: end.reason.as_deref() == Some("OOMKilled"),
            words: last_words(end, log),
        })
    }
}

fn words_of(message: Option<&String>, container: &Container) -> String {
    message.cloned().unwrap_or_else(|| format!("image {:?}", container.image))
}

/// Its exit code, and what it wrote last: the kubelet keeps up to 2 KiB of that (see the pod's terminationMessagePolicy).
/// More than one line of it begins on a line of its own.
pub fn last_words(end: &ContainerStateTerminated, log: Log) -> String {
    const LINES: usize = 20;
    let reason = end.reason.as_deref().unwrap_or("no reason given");
    let what = format!("exit code {} ({reason})", end.exit_code);
    let message = end.message.as_ref().filter(|_| log == Log::Told);
    let log: Vec<&str> = message.iter().flat_map(|text| text.trim().lines()).collect();
    match &log[log.len().saturating_sub(LINES)..] {
        [] => what,
        [line] => format!("{what}: {line}"),
        lines => format!("{what}:\n{}", lines.join("\n")),
    }
}
