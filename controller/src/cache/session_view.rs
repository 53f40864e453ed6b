use std::sync::Arc;

use jiff::Timestamp;
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use vdi_api::{Phase, VDISession, desktop_pod::pod_name};
use vdi_planner::model::{FieldInvalid, PinnedTemplate, PodState, Spec, Template, Wait};

use super::{partial_pod::PartialPod, pod_summary::PodSummary, stores::Stores};

/// A session with its template and its pod, as the stores have them, parsed.
pub struct SessionView<'a> {
    pub session: &'a VDISession,
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub spec: Result<Spec, FieldInvalid>,
    /// `None` when no template has the name that the session gives.
    pub template: Option<Result<Template, FieldInvalid>>,
    pub pod: PodState,
    /// The pod, where it is the session's own.
    pub own_pod: Option<Arc<PodSummary>>,
    /// A pod of the same user, NAMESPACE/NAME, that keeps this session from starting: it still holds its GPUs although its session
    /// is gone.
    pub former_desktop: Option<String>,
    /// Whether its pod waits for a node and no node is large enough for it.
    pub fits_nowhere: bool,
}

impl<'a> SessionView<'a> {
    pub fn of(session: &'a VDISession, stores: &Stores, now: Timestamp) -> Self {
        let (name, namespace) = (session.name_any(), session.namespace().unwrap_or_default());
        let uid = session.uid().unwrap_or_default();
        let pod_name = pod_name(&name);
        let named = stores.pods.get(&ObjectRef::new(&pod_name).within(&namespace));
        let pod = match &named {
            None if stores.aside.get::<PartialPod>(&namespace, &pod_name).is_some() => PodState::Unreadable,
            None => PodState::Absent,
            Some(pod) if pod.belongs_to(&uid) => pod.state.clone(),
            Some(_) => PodState::Foreign,
        };
        let template = stores.templates.get(&ObjectRef::new(&session.spec.template));
        let template = template.map(|template| Template::try_from(template.as_ref()));
        let unreadable = || stores.unreadable_template(&session.spec.template);
        let mut view = Self {
            session,
            spec: Spec::try_from(&session.spec),
            template: template.or_else(|| Some(Err(FieldInvalid::unreadable(&unreadable()?.error)))),
            pod,
            own_pod: named.filter(|pod| pod.belongs_to(&uid)),
            former_desktop: None,
            fits_nowhere: false,
            name,
            namespace,
            uid,
        };
        if let Some((spec, template)) = view.wanted() {
            let waits_for_node = matches!(view.pod, PodState::Unscheduled(Wait::Node(_)));
            let fits_nowhere = waits_for_node && stores.fits_nowhere(spec, template);
            let former = || stores.former_desktop(&spec.user, now);
            let former = (view.pod == PodState::Absent).then(former).flatten();
            view.former_desktop = former.map(|pod| format!("{}/{}", pod.namespace, pod.name));
            view.fits_nowhere = fits_nowhere;
        }
        view
    }

    pub fn valid_template(&self) -> Option<&Template> {
        self.template.as_ref()?.as_ref().ok()
    }

    /// What the pod was made with; before there is one, what the template says.
    pub fn pinned(&self) -> Option<&PinnedTemplate> {
        let of_pod = self.own_pod.as_ref().and_then(|pod| pod.pinned.as_deref());
        of_pod.or_else(|| Some(&self.valid_template()?.pinned))
    }

    /// What the session's desktop is made from, where the session has, or is to have, a desktop.
    pub fn wanted(&self) -> Option<(&Spec, &Template)> {
        self.wants_pod().then_some(self.spec.as_ref().ok().zip(self.valid_template())?)
    }

    /// The same, unless something keeps the desktop from starting.
    pub fn startable(&self) -> Option<(&Spec, &Template)> {
        self.wanted().filter(|_| self.former_desktop.is_none())
    }

    /// Whether the session has, or is to have, a desktop.
    pub fn wants_pod(&self) -> bool {
        let phase = self.session.status.as_ref().map(|status| status.phase).unwrap_or_default();
        let is_ending = matches!(phase, Phase::Failed | Phase::Terminating);
        !is_ending && !self.session.spec.suspend && self.session.metadata.deletion_timestamp.is_none()
    }

    pub fn created(&self) -> Timestamp {
        self.session.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0)
    }
}
