use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::ObjectMeta, runtime::reflector::ObjectRef};
use vdi_api::{VDISession, desktop_pod};
use vdi_planner::model::{PinnedTemplate, PodState};

use super::{lookup::lookup_by_name, partial_pod::PartialPod};

/// How much longer than its grace period a pod may take to end before its node counts as gone.
const UNANSWERED: SignedDuration = SignedDuration::from_secs(5);

/// What is kept of a pod: whose it is and what it is doing, parsed once.
#[derive(Clone, Debug)]
pub struct PodSummary {
    pub name: String,
    pub namespace: String,
    pub uid: Option<String>,
    /// The sessions that own it: one, unless somebody has tampered with it.
    pub owners: Vec<Owner>,
    pub user: Option<String>,
    /// When its grace period ends, once it has been deleted.
    pub ends_by: Option<Timestamp>,
    pub state: PodState,
    pub node: Option<String>,
    /// How much it takes of each extended resource.
    pub devices: Vec<(String, i64)>,
    /// Whether its containers have stopped for good.
    pub has_ended: bool,
    /// `None` where somebody has tampered with the annotations.
    pub pinned: Option<Box<PinnedTemplate>>,
    /// The claim that is its home.
    pub home: Option<String>,
    /// How many of the session's pods had failed before this one.
    pub attempt: i64,
}

#[derive(Clone, Debug)]
pub struct Owner {
    pub name: String,
    pub uid: String,
}

impl Owner {
    /// The sessions among an object's owners.
    pub fn all_of(object: &ObjectMeta) -> Vec<Self> {
        let owners = object.owner_references.iter().flatten().filter_map(|owner| {
            ObjectRef::<VDISession>::from_owner_ref(None, owner, ())?;
            Some(Self { name: owner.name.clone(), uid: owner.uid.clone() })
        });
        owners.collect()
    }
}

impl PodSummary {
    /// Whether it has been deleted.
    pub fn is_leaving(&self) -> bool {
        matches!(self.state, PodState::Leaving(_))
    }

    /// Whether its GPUs are still in use. A node that hasn't ended it in time is gone, and the GPUs with it.
    pub fn holds_gpus(&self, now: Timestamp) -> bool {
        !self.has_ended && self.ends_by.is_none_or(|by| now.duration_since(by) < UNANSWERED)
    }

    pub fn belongs_to(&self, session_uid: &str) -> bool {
        self.owners.iter().any(|owner| owner.uid == session_uid)
    }
}

impl From<PartialPod> for PodSummary {
    fn from(pod: PartialPod) -> Self {
        let annotations = pod.annotations();
        let pinned = PinnedTemplate::from_annotations(annotations).map(Box::new);
        let (is_deleted, has_node) = (pod.metadata.deletion_timestamp.is_some(), pod.spec.node_name.is_some());
        Self {
            owners: Owner::all_of(&pod.metadata),
            user: annotations.get(desktop_pod::USER).cloned(),
            ends_by: pod.metadata.deletion_timestamp.as_ref().map(|time| time.0),
            state: PodState::of(is_deleted, has_node, &pod.status, pinned.as_deref()),
            devices: pod.spec.devices(),
            node: pod.spec.node_name.clone(),
            has_ended: pod.status.has_ended(),
            pinned,
            home: annotations.get(desktop_pod::HOME).cloned(),
            attempt: annotations.get(desktop_pod::FAILED_PODS).and_then(|n| n.parse().ok()).unwrap_or_default(),
            name: pod.name_any(),
            namespace: pod.namespace().unwrap_or_default(),
            uid: pod.uid(),
        }
    }
}

lookup_by_name!(PodSummary, Pod, |pod| Some(&pod.namespace));

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vdi_api::{Activity, Protocol};

    use super::*;

    #[test]
    fn a_pod_belongs_to_the_session_that_owns_it_and_to_nothing_of_another_kind_or_uid() {
        let owner = |kind: &str, uid: &str| json!({ "apiVersion": "vdi.kasm.io/v1alpha1", "kind": kind, "name": "a", "uid": uid });
        let owners = [owner("VDISession", "1"), owner("VDIPool", "2")];
        let pod: PartialPod =
            serde_json::from_value(json!({ "metadata": { "name": "vdi-a", "ownerReferences": owners } })).unwrap();
        let pod = PodSummary::from(pod);
        assert_eq!(["1", "2", "3"].map(|uid| pod.belongs_to(uid)), [true, false, false]);
    }

    /// Its desktop keeps what it was started with, whichever version of the controller leads.
    #[test]
    fn a_pod_of_the_last_release_is_read() {
        let recorded = include_str!("../../../tests/last-release/formats/pod.json");
        let pod = PodSummary::from(serde_json::from_str::<PartialPod>(recorded).unwrap());
        assert!(pod.belongs_to("7f3a9c1e-0000-4000-8000-000000000001"));
        assert_eq!((pod.user.as_deref(), pod.attempt), (Some("alice@example.com"), 0));
        assert!(pod.home.is_some_and(|home| home.starts_with("vdi-home-alice-")));
        let duration = |text: &str| text.parse().unwrap();
        let pinned = PinnedTemplate {
            template_generation: 1,
            port: 6901,
            protocol: Protocol::Https,
            path: "/vnc.html".to_owned(),
            renderer_path: Some("/renderer".to_owned()),
            idle_timeout: Some(duration("30m")),
            activity: Activity::Selkies,
            max_timeout: Some(duration("12h")),
            start_deadline: duration("10m"),
            failed_retention: duration("2h"),
            log_in_status: true,
        };
        assert_eq!(pod.pinned, Some(Box::new(pinned)));
    }

    #[test]
    fn a_pod_holds_its_gpus_until_it_has_ended_or_its_node_is_gone() {
        let pod = |deleted: Option<&str>, phase: &str| {
            let metadata = json!({ "name": "vdi-a", "deletionTimestamp": deleted });
            PodSummary::from(
                serde_json::from_value::<PartialPod>(json!({ "metadata": metadata, "status": { "phase": phase } }))
                    .unwrap(),
            )
        };
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        for (deleted, phase, holds) in [
            (None, "Running", true),
            (None, "Succeeded", false),
            (None, "Failed", false),
            (Some("2026-01-01T12:00:10Z"), "Running", true),
            (Some("2026-01-01T11:59:58Z"), "Running", true),
            (Some("2026-01-01T11:59:50Z"), "Running", false),
            (Some("2026-01-01T12:00:10Z"), "Failed", false),
        ] {
            assert_eq!(pod(deleted, phase).holds_gpus(noon), holds, "{deleted:?} {phase}");
        }
    }
}
