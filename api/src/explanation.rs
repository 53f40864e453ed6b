//! What people are told about a session that isn't running: on the gateway's pages and by `kubectl vdi`. docs/sessions.md has more, for
//! those who write manifests.

/// Why a session is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What is the matter, as a sentence.
    pub what: &'static str,
    /// What to do about it, as a sentence or two.
    pub advice: &'static str,
}

const WAIT: &str = "You need do nothing: it starts by itself.";
const ASK: &str = "Ask your administrator, and show them the details.";

/// Explains a reason of the condition `Ready`; `None` for one of another version of this software.
pub fn explanation(reason: &str) -> Option<Explanation> {
    let (what, advice) = match reason {
        "Scheduling" => ("A place for your desktop is being looked for.", WAIT),
        "Suspended" => {
            ("Your desktop is suspended. Its files are kept, and it holds no GPU.", "Resume it when you need it.")
        }
        "SessionInvalid" => ("Something in this desktop's definition isn't allowed any more.", "Start it anew."),
        "TemplateNotFound" => {
            ("There is no such kind of desktop (any more).", "Choose another one, or wait for it to be back.")
        }
        "TemplateInvalid" => ("This kind of desktop is set up wrongly.", ASK),
        "Unschedulable" => (
            "No machine has enough free for your desktop at the moment.",
            "It starts as soon as one has. A desktop with fewer GPUs or less memory may start sooner.",
        ),
        "Queued" => (
            "All matching GPUs are in use, and others have waited longer.",
            "It starts when it is your turn. Another kind of desktop may be free.",
        ),
        "SchedulingGated" => ("Another system decides when your desktop may start.", WAIT),
        "QuotaExceeded" => (
            "Your team's quota is used up.",
            "It starts when somebody in your team ends a desktop. Your administrator can raise the quota.",
        ),
        "PodRefused" | "NetworkPolicyRefused" => ("The cluster refuses your desktop.", ASK),
        "PodNameTaken" => ("Something else in the cluster has the name that your desktop needs.", ASK),
        "HomeTaken" => ("Something else in the cluster has the name that your files' volume needs.", ASK),
        "FormerDesktopEnding" => ("Your former desktop is still being shut down.", WAIT),
        "HomeInUse" => (
            "Your files are in use by another desktop of yours.",
            "End or suspend that one: then this one starts by itself.",
        ),
        "HomeUnbound" => (
            "There is no storage for your files yet.",
            "If that doesn't change within minutes, ask your administrator.",
        ),
        "Preempted" => ("Your desktop had to make room for a more important one.", WAIT),
        "Evicted" => ("The machine that your desktop ran on had to end it.", WAIT),
        "NodeLost" => (
            "The machine that your desktop runs on doesn't answer.",
            "It starts elsewhere once the cluster has given that machine up.",
        ),
        "PodDeleted" | "PodLost" => ("Your desktop was ended from outside.", WAIT),
        "Starting" => {
            ("Your desktop is starting.", "The first time on a machine takes longer, as it has to be downloaded there.")
        }
        "ImagePullFailed" => ("Your desktop can't be downloaded.", ASK),
        "ContainerFailed" => ("Your desktop can't be started.", ASK),
        "DesktopCrashed" => {
            ("Your desktop has crashed, and starts again.", "If it keeps crashing, ask your administrator.")
        }
        "OutOfMemory" => {
            ("Your desktop ran out of memory, and starts again.", "Start one with more memory if that keeps happening.")
        }
        "NotResponding" => {
            ("Your desktop doesn't respond.", "It may recover. If it doesn't, end it and start it anew.")
        }
        "Running" => ("Your desktop is running.", "Open it."),
        "Expired" => ("Your desktop has reached its longest time.", "Your files are kept. Start it anew to continue."),
        "Idle" => ("Your desktop ended because nobody used it.", "Your files are kept. Start it anew to continue."),
        "Deleted" => ("Your desktop was ended.", "Your files are kept. Start it anew to continue."),
        "StartDeadlineExceeded" => ("Your desktop didn't start in time.", ASK),
        "DesktopEnded" => ("Your desktop ended by itself, as when somebody logs out.", "Start it anew to continue."),
        "CrashLoop" => ("Your desktop crashed again and again.", ASK),
        "PodFailed" => (
            "Machines had to end your desktop again and again.",
            "It may have used too much disk or memory. Ask your administrator.",
        ),
        _ => return None,
    };
    Some(Explanation { what, advice })
}
