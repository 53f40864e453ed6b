//! Step one: what is known about a session, from memory alone, parsed once.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use vdi_api::{Email, Gpus, Invalid, Memory, Timeout, VDISession, VDISessionSpec, VDISessionStatus, VDITemplate};

use crate::{hosts::HostClaims, pod_state::PodState, resources::pod_name, stores::Stores, template::Template};

/// For a session whose template is gone.
const DEFAULT_START_DEADLINE: Duration = Duration::from_secs(5 * 60);
const DEFAULT_FAILED_RETENTION: Duration = Duration::from_secs(60 * 60);

/// Everything that the plan for a session depends on, besides the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub generation: Option<i64>,
    pub created: Timestamp,
    pub deleting: bool,
    pub spec: Result<Spec, FieldInvalid>,
    pub status: VDISessionStatus,
    /// `None` when no template has the name that the session gives.
    pub template: Option<Result<Template, FieldInvalid>>,
    pub pod: PodState,
    /// Where the desktop is opened; `None` while what it is made of isn't known yet.
    pub url: Option<String>,
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

/// Reads the stores; never asks the API server.
pub fn observe(session: &VDISession, stores: &Stores, hosts: &HostClaims) -> Observed {
    let uid = session.uid().unwrap_or_default();
    let namespace = session.namespace().unwrap_or_default();
    let spec = Spec::try_from(&session.spec);
    let pod_key = ObjectRef::new(&pod_name(&session.name_any())).within(&namespace);
    let pod = stores.pods.get(&pod_key).map_or(PodState::Absent, |pod| PodState::of(&pod, &uid));
    let template = find_template(stores, &session.spec.template).map(|t| Template::try_from(t.as_ref()));
    let port = template.as_ref().and_then(|template| Some(template.as_ref().ok()?.port));
    let url = spec.as_ref().ok().and_then(|spec| hosts.url_of(session, &spec.user, &pod, port, &stores.sessions));
    Observed {
        name: session.name_any(),
        namespace,
        uid,
        generation: session.metadata.generation,
        created: session.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0),
        deleting: session.metadata.deletion_timestamp.is_some(),
        spec,
        status: session.status.clone().unwrap_or_default(),
        template,
        pod,
        url,
    }
}

fn find_template(stores: &Stores, name: &str) -> Option<Arc<VDITemplate>> {
    stores.templates.get(&ObjectRef::new(name))
}

impl Observed {
    /// When the desktop's time is up: known once it ran, and moved by raising `spec.timeout`.
    pub fn session_deadline(&self) -> Option<Timestamp> {
        let start = self.status.start_time.as_ref()?.0;
        match &self.spec {
            Ok(spec) => Some(start.checked_add(spec.timeout.duration()).unwrap_or(Timestamp::MAX)),
            Err(_) => self.status.expires_at.as_ref().map(|time| time.0),
        }
    }

    /// How long the desktop may take from getting a node to being up.
    pub fn start_deadline(&self) -> Duration {
        self.valid_template().map_or(DEFAULT_START_DEADLINE, |template| template.start_deadline)
    }

    /// How long the session stays once it has failed.
    pub fn failed_retention(&self) -> Duration {
        self.valid_template().map_or(DEFAULT_FAILED_RETENTION, |template| template.failed_retention)
    }

    /// What the user was last told.
    pub fn message(&self) -> String {
        self.status.ready().map(|condition| condition.message.clone()).unwrap_or_default()
    }

    fn valid_template(&self) -> Option<&Template> {
        self.template.as_ref()?.as_ref().ok()
    }
}
