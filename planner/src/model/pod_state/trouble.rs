use super::log::Log;
use crate::model::pod_status::Container;

/// Why a desktop that has a node is not up.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// The image can't be pulled, with the node's message.
    Image(String),
    /// The container can't be created, with the node's message.
    Container(String),
    /// It crashed, and the kubelet restarts it in place.
    Crash {
        /// So far, in this pod.
        crashes: i32,
        out_of_memory: bool,
        /// How it ended, and the last lines of its log where they are shown.
        words: String,
    },
}

impl Trouble {
    pub fn of(container: &Container, log: Log) -> Option<Self> {
        let waiting = container.state.waiting.as_ref();
        match waiting.and_then(|waiting| waiting.reason.as_deref()) {
            // The kubelet alternates between these; for the user they are one.
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
            // The kubelet counts restarts, and so the latest crash only once it has restarted the container.
            crashes: container.restart_count + i32::from(is_down),
            out_of_memory: end.reason.as_deref() == Some("OOMKilled"),
            words: log.last_words(end),
        })
    }
}

fn words_of(message: Option<&String>, container: &Container) -> String {
    message.cloned().unwrap_or_else(|| format!("image {:?}", container.image))
}
