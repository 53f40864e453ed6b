//! Step one: what is known about a session, from memory alone, parsed once.

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};
use vdi_api::{Email, Gpus, Invalid, Memory, Phase, Timeout, VDISession, VDISessionSpec, VDISessionStatus};

use crate::{
    accelerated::Renderer,
    activity::Idle,
    home::HomeState,
    line::{self, Line, Place, Waiting},
    memory::Memories,
    pod_state::{PodState, Wait},
    reason::Reason,
    resources::{self, Login, NAMESPACE_POLICY, pod_name},
    stores::{LeanPod, Stores},
    template::Template,
    terms::Terms,
};

/// Everything that the plan for a session depends on, besides the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub generation: Option<i64>,
    pub created: Timestamp,
    pub deletion: Option<Deletion>,
    pub spec: Result<Spec, FieldInvalid>,
    pub status: VDISessionStatus,
    /// `None` when no template has the name that the session gives.
    pub template: Option<Result<Template, FieldInvalid>>,
    /// Those that its pod was made with; before there is one, those of the template.
    pub terms: Option<Terms>,
    pub pod: PodState,
    /// Why the last pod went, where that was seen and there is no other.
    pub pod_left: Option<Reason>,
    pub pod_uid: Option<String>,
    /// How many of the session's pods had failed before this one.
    pub pod_attempt: i64,
    pub home: HomeState,
    /// A pod of its user's whose session is gone and which has yet to give its GPUs back, as NAMESPACE/NAME.
    pub former_desktop: Option<String>,
    /// The policy that the namespace's desktops should be under, when they aren't.
    pub missing_policy: Option<Box<NetworkPolicy>>,
    /// Its place among those that wait for GPUs, when there is a queue.
    pub place: Option<Place>,
    /// Whether its pod waits for a node, and none is large enough.
    pub fits_nowhere: bool,
    /// When the desktop was last used, as far as anybody knows.
    pub idle: Option<Idle>,
    /// What its desktop is to ask for, where its template wants that and there is a key to make a password with.
    pub login: Option<Login>,
    pub renderer: Renderer,
    /// Where the desktop is opened; `None` while what it is made of isn't known yet.
    pub url: Option<String>,
}

/// That a session is being deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Deletion {
    pub since: Timestamp,
    /// Whether Kubernetes is about to delete what the session owns. It isn't where somebody keeps the session from going, or has
    /// asked for its pod to be left behind.
    pub is_kubernetes_own: bool,
}

impl Deletion {
    fn of(session: &VDISession) -> Option<Self> {
        let since = session.metadata.deletion_timestamp.as_ref()?.0;
        Some(Self { since, is_kubernetes_own: session.finalizers().iter().all(|name| name == "foregroundDeletion") })
    }
}

/// A session's spec, with values that can't be wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    pub user: Email,
    pub template: String,
    pub gpus: Gpus,
    pub memory: Memory,
    pub timeout: Timeout,
    pub suspend: bool,
}

/// A field that an older schema let through, or that no schema can check.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field}: {invalid}")]
pub struct FieldInvalid {
    pub field: &'static str,
    pub invalid: Invalid,
}

impl FieldInvalid {
    pub fn at(field: &'static str) -> impl Fn(Invalid) -> Self {
        move |invalid| Self { field, invalid }
    }

    /// An object that can't even be parsed.
    fn unreadable(error: &str) -> Self {
        Self { field: "object", invalid: Invalid::value(error, "what this version of the controller can read") }
    }
}

impl TryFrom<&VDISessionSpec> for Spec {
    type Error = FieldInvalid;

    fn try_from(spec: &VDISessionSpec) -> Result<Self, FieldInvalid> {
        Ok(Self {
            user: spec.user.parse().map_err(FieldInvalid::at("spec.user"))?,
            template: spec.template.clone(),
            gpus: i64::from(spec.resources.gpu).try_into().map_err(FieldInvalid::at("spec.resources.gpu"))?,
            memory: spec.resources.memory.parse().map_err(FieldInvalid::at("spec.resources.memory"))?,
            timeout: spec.timeout.parse().map_err(FieldInvalid::at("spec.timeout"))?,
            suspend: spec.suspend,
        })
    }
}

/// Reads what is in memory; never asks the API server.
pub fn observe(session: &VDISession, stores: &Stores, memories: &Memories, now: Timestamp) -> Observed {
    let (name, namespace) = (session.name_any(), session.namespace().unwrap_or_default());
    let uid = session.uid().unwrap_or_default();
    let spec = Spec::try_from(&session.spec);
    let named_so = stores.pods.get(&ObjectRef::new(&pod_name(&name)).within(&namespace));
    let own_pod = named_so.as_deref().filter(|pod| pod.belongs_to(&uid));
    let pod = match (&named_so, own_pod) {
        (None, _) if stores.aside.get::<LeanPod>(&namespace, &pod_name(&name)).is_some() => PodState::Unreadable,
        (None, _) => PodState::Absent,
        (Some(_), None) => PodState::Foreign,
        (Some(_), Some(pod)) => pod.state.clone(),
    };
    let template = stores.templates.get(&ObjectRef::new(&session.spec.template));
    let template = template.map(|template| Template::try_from(template.as_ref()));
    let unreadable = || stores.unreadable_template(&session.spec.template);
    let template = template.or_else(|| Some(Err(FieldInvalid::unreadable(&unreadable()?.error))));
    let valid_template = template.as_ref().and_then(|template| template.as_ref().ok());
    let terms =
        own_pod.and_then(|pod| pod.terms.as_deref()).or(valid_template.map(|template| &template.terms)).cloned();
    let wants_pod = wants_pod(session);
    let wanted = spec.as_ref().ok().zip(valid_template).filter(|_| wants_pod);
    let home =
        wanted.map_or(HomeState::NotWanted, |(spec, template)| memories.homes.look(session, spec, template, stores));
    let basic_auth = valid_template.and_then(|template| template.basic_auth.as_ref()).filter(|_| wants_pod);
    let login = basic_auth.zip(memories.login_keys.newest()).map(|(asked, key)| Login::of(&uid, asked, key));
    let waits_for_node = matches!(pod, PodState::Unscheduled(Wait::Node(_)));
    let fits_nowhere = waits_for_node && wanted.is_some_and(|(spec, template)| stores.fits_nowhere(spec, template));
    let former_desktop = wanted.filter(|_| pod == PodState::Absent).and_then(|(spec, _)| {
        let pod = stores.former_desktop(&spec.user, now)?;
        Some(format!("{}/{}", pod.namespace, pod.name))
    });
    let startable = wanted.filter(|_| former_desktop.is_none());
    let place = match startable {
        Some((_, template)) if is_in_line(&pod, &home, template, login.as_ref()) => {
            place(session, template, &pod, fits_nowhere, stores, memories, now)
        }
        _ => memories.leave_line(&ObjectRef::from_obj(session)),
    };
    // Who waits for a turn leaves the home to whoever can use it.
    if let Some((spec, template)) = startable
        && (own_pod.is_some() || place.as_ref().is_none_or(|place| place.may_start))
    {
        memories.homes.take(session, spec, template, &stores.pods);
    }
    let port = terms.as_ref().map(|terms| terms.port);
    let user = spec.as_ref().ok().map(|spec| &spec.user);
    let url = user.and_then(|user| memories.hosts.url_of(session, user, &pod, port, &stores.sessions));
    Observed {
        generation: session.metadata.generation,
        created: created(session),
        deletion: Deletion::of(session),
        spec,
        status: session.status.clone().unwrap_or_default(),
        template,
        terms,
        pod_left: stores.departed.why(&ObjectRef::from_obj(session)),
        pod_uid: own_pod.and_then(|pod| pod.uid.clone()),
        pod_attempt: own_pod.map_or(0, |pod| pod.attempt),
        pod,
        home,
        former_desktop,
        missing_policy: missing_policy(&namespace, stores, memories),
        place,
        fits_nowhere,
        idle: memories.activity.idle(&uid),
        login,
        renderer: Renderer::NotPublished,
        url,
        name,
        namespace,
        uid,
    }
}

fn created(session: &VDISession) -> Timestamp {
    session.meta().creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0)
}

/// Whether it has, or is to have, a desktop.
fn wants_pod(session: &VDISession) -> bool {
    let phase = session.status.as_ref().map(|status| status.phase).unwrap_or_default();
    let is_ending = matches!(phase, Phase::Failed | Phase::Terminating);
    !is_ending && !session.spec.suspend && session.meta().deletion_timestamp.is_none()
}

/// Whether it would have a pod, if it weren't for those ahead.
fn is_in_line(pod: &PodState, home: &HomeState, template: &Template, login: Option<&Login>) -> bool {
    match pod {
        PodState::Unscheduled(_) => true,
        PodState::Absent | PodState::Leaving(_) => {
            let has_home = !matches!(home, HomeState::InUse { .. } | HomeState::Leaving | HomeState::Taken);
            has_home && (template.basic_auth.is_none() || login.is_some())
        }
        _ => false,
    }
}

/// Whether the cluster didn't want its pod, or what that needs, the last time that it was asked.
fn is_refused(status: &VDISessionStatus) -> bool {
    status.ready().and_then(|ready| Reason::named(&ready.reason)).is_some_and(Reason::is_refusal)
}

fn place(
    session: &VDISession,
    template: &Template,
    pod: &PodState,
    fits_nowhere: bool,
    stores: &Stores,
    memories: &Memories,
    now: Timestamp,
) -> Option<Place> {
    let wait = match pod {
        PodState::Unscheduled(wait) => Some(wait),
        _ => None,
    };
    let status = session.status.as_ref();
    let told = status.and_then(|status| status.queue.as_ref());
    let resumes = status.and_then(|s| s.ready()).is_some_and(|ready| ready.reason == Reason::Suspended.to_string());
    memories.lines.wait(Waiting {
        session: ObjectRef::from_obj(session),
        uid: session.uid()?,
        line: Line::of(template, &session.namespace()?)?,
        is_passed_by: fits_nowhere || status.is_some_and(is_refused),
        priority: stores.priority(template.priority_class.as_deref()),
        since: told.map_or(if resumes { now } else { created(session) }, |queue| queue.since.0),
        // Who was told of a queue was in one, also before a restart.
        is_short_of_gpus: told.is_some() || wait.is_some_and(|wait| line::is_short_of_gpus(wait, &template.gpu)),
    })
}

fn missing_policy(namespace: &str, stores: &Stores, memories: &Memories) -> Option<Box<NetworkPolicy>> {
    let there = stores.policies.get(&ObjectRef::new(NAMESPACE_POLICY).within(namespace));
    let is_as_wanted = there.is_some_and(|there| there.spec.as_ref() == Some(&memories.policy));
    (!is_as_wanted).then(|| Box::new(resources::namespace_policy(namespace, &memories.policy)))
}
