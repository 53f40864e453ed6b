/// The state of a session's home volume, before it has a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum HomeState {
    /// The template has no home, or the session needs none now.
    NotWanted,
    /// There is no claim yet.
    Missing,
    /// The claim has a volume.
    Bound,
    /// The claim has no volume yet; `why` in the provisioner's words, once there are any.
    Unbound { why: Option<String> },
    /// Another session uses it, and only one can at a time.
    InUse { by: String },
    /// The claim is being deleted.
    Leaving,
    /// A claim of that name exists and belongs to something else.
    Taken,
}
