//! From nothing to a desktop that is about to be up.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vdi_api::{Expiry, Phase, QueueStatus, VDISessionStatus, desktop_pod};

use super::{
    acceleration,
    action::{Action, Plan},
    deadline,
    end::fail,
    status::status,
    warnings,
};
use crate::{
    model::{HomeState, Observed, Place, Reason, Spec, Template, Trouble, Wait, time::after},
    resources,
};

/// Sessions and templates come through different watches, so a new session can be seen before an older template.
const TEMPLATE_GRACE: Duration = Duration::from_secs(2);
/// How often a session that waits for its home or its turn gets a pass, which makes no requests.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The same, for a wait of seconds.
const LOOK_SOON: Duration = Duration::from_secs(1);
/// How often the events of a home without a volume are listed.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// For a session whose template is gone and whose pod's annotations have been tampered with.
const DEFAULT_START_DEADLINE: Duration = Duration::from_secs(5 * 60);
/// After this many crashes in one pod, the desktop counts as broken.
const CRASHES: i32 = 4;

/// Only the controller's operator can change this.
const NO_LOGIN_KEY: &str =
    "spec.basicAuth needs a key to derive passwords from: set login-keys-secret or login-keys-file on the controller";

/// There should be a pod, and there is none.
pub fn create(seen: &Observed, now: Timestamp) -> Plan {
    let blocked = |reason, message| Plan::publish(status(seen, reason, message, now));
    if seen.status.pod_name.is_some() {
        // Published first: the new pod is created in the next pass, and a crash in between loses nothing.
        return lost(seen, seen.pod_left.unwrap_or(Reason::PodLost), now);
    }
    match (&seen.spec, &seen.template) {
        (Err(invalid), _) => blocked(Reason::SessionInvalid, invalid.to_string()),
        // It may only be on its way here.
        (Ok(_), None) if now < after(seen.created, TEMPLATE_GRACE) => {
            Plan { wake: Some(after(seen.created, TEMPLATE_GRACE)), ..Plan::publish(seen.status.clone()) }
        }
        (Ok(spec), None) => blocked(Reason::TemplateNotFound, format!("no VDITemplate is named {:?}", spec.template)),
        (Ok(spec), Some(Err(invalid))) => {
            blocked(Reason::TemplateInvalid, format!("VDITemplate {:?}: {invalid}", spec.template))
        }
        (Ok(spec), Some(Ok(template))) => create_from(seen, spec, template, now),
    }
}

fn create_from(seen: &Observed, spec: &Spec, template: &Template, now: Timestamp) -> Plan {
    if let HomeState::InUse { by } = &seen.home {
        let message = format!("the home volume is in use by session {by:?}; only one session can use it at a time");
        return Plan::publish(status(seen, Reason::HomeInUse, message, now)).wake_by(Some(after(now, LOOK_AGAIN)));
    }
    if seen.home == HomeState::Leaving {
        let message = "the home volume is being deleted; a new one is created once it is gone".to_owned();
        return Plan::publish(status(seen, Reason::HomeUnbound, message, now)).wake_by(Some(after(now, LOOK_AGAIN)));
    }
    if let (HomeState::Taken, Some(home)) = (&seen.home, &template.home) {
        let message = resources::home_taken(&resources::home_name(&seen.uid, spec, home));
        return Plan::publish(status(seen, Reason::HomeTaken, message, now)).wake_by(Some(after(now, LOOK_AGAIN)));
    }
    if let Some(pod) = &seen.former_desktop {
        let message = format!("waiting for pod {pod}, a previous desktop of the same user, to release its GPUs");
        let told = status(seen, Reason::FormerDesktopEnding, message, now);
        return Plan::publish(told).wake_by(Some(after(now, LOOK_SOON)));
    }
    if let Some(place) = seen.place.as_ref().filter(|place| !place.may_start) {
        return queued(seen, place, template, now);
    }
    if template.basic_auth.is_some() && seen.login.is_none() {
        let message = format!("VDITemplate {:?}: {NO_LOGIN_KEY}", template.name);
        return Plan::publish(status(seen, Reason::TemplateInvalid, message, now));
    }
    let mut actions = Vec::new();
    if seen.home == HomeState::Missing
        && let Some(home) = resources::home(seen, spec, template)
    {
        actions.push(Action::CreateHome(Box::new(home)));
    }
    if !template.reachable.is_empty() {
        actions.push(Action::OpenNetwork(Box::new(resources::own_network_policy(seen, template))));
    }
    if let Some(login) = &seen.login {
        actions.push(Action::CreateLogin(Box::new(resources::login_secret(seen, login))));
    }
    actions.push(Action::CreatePod(Box::new(resources::pod(seen, spec, template))));
    let notices = warnings::of_deprecation(template).into_iter().collect();
    Plan { actions, notices, ..Plan::publish(waiting(seen, now)) }
}

/// There is a pod, and no node for it yet.
pub fn unscheduled(seen: &Observed, wait: &Wait, now: Timestamp) -> Plan {
    let mut plan = waiting_for_node(seen, wait, now);
    // Somebody has deleted the home since the pod was created, and the pod can't be scheduled without it. Before the first status, the
    // watch of homes may only lag behind.
    if let (HomeState::Missing, Some(_), Ok(spec), Some(Ok(template))) =
        (&seen.home, seen.reason(), &seen.spec, &seen.template)
        && let Some(home) = resources::home(seen, spec, template)
    {
        plan.actions.push(Action::CreateHome(Box::new(home)));
    }
    plan
}

fn waiting_for_node(seen: &Observed, wait: &Wait, now: Timestamp) -> Plan {
    let with_pod = |status| VDISessionStatus { pod_name: Some(desktop_pod::pod_name(&seen.name)), ..status };
    if let HomeState::Unbound { why } = &seen.home
        && (why.is_some() || is_about_volumes(wait))
    {
        return with_unbound_home(seen, wait, why.as_deref(), now);
    }
    match (wait, &seen.place, &seen.template) {
        (Wait::Scheduler, ..) => Plan::publish(waiting(seen, now)),
        (Wait::Gates(words), ..) => Plan::publish(with_pod(status(seen, Reason::SchedulingGated, words.clone(), now))),
        // Its pod would compete with those of the sessions ahead.
        (Wait::Node(_), Some(place), Some(Ok(template))) if !place.may_start => {
            Plan { actions: vec![Action::DeletePod], ..queued(seen, place, template, now) }
        }
        (Wait::Node(words), ..) if seen.fits_nowhere => {
            let message = format!("no node is large enough: {words}");
            Plan::publish(with_pod(status(seen, Reason::Unschedulable, message, now)))
        }
        (Wait::Node(words), Some(place), Some(Ok(template))) => {
            let message =
                format!("next in the queue for {}, waiting since {}: {words}", template.gpu.name(), place.since);
            let told = with_pod(status(seen, Reason::Unschedulable, message, now));
            Plan::publish(VDISessionStatus { queue: Some(queue_status(place)), ..told })
        }
        (Wait::Node(words), ..) => Plan::publish(with_pod(status(seen, Reason::Unschedulable, words.clone(), now))),
    }
}

/// A volume is often provisioned only once its pod has a node, so its absence means nothing while the scheduler has other reasons.
fn is_about_volumes(wait: &Wait) -> bool {
    /// Parts of the messages of kube-scheduler's plugins VolumeBinding and VolumeZone.
    const WORDS: [&str; 5] = ["PersistentVolume", "persistent volume", "pvc(s)", "free storage", "volume zone"];
    match wait {
        Wait::Node(said) => WORDS.iter().any(|words| said.contains(words)),
        Wait::Scheduler => true,
        Wait::Gates(_) => false,
    }
}

/// The scheduler waits for the home's volume.
fn with_unbound_home(seen: &Observed, wait: &Wait, why: Option<&str>, now: Timestamp) -> Plan {
    let words = match wait {
        Wait::Node(words) => Some(words.as_str()),
        _ => None,
    };
    let published = match why.or(words) {
        Some(why) => {
            let status =
                status(seen, Reason::HomeUnbound, format!("the home volume is not provisioned yet: {why}"), now);
            VDISessionStatus { pod_name: Some(desktop_pod::pod_name(&seen.name)), ..status }
        }
        None => waiting(seen, now),
    };
    Plan::publish(published).wake_by(Some(after(now, ASK_AGAIN)))
}

/// No pod for now: other sessions came first. The number ahead is published in steps, so that a queue that moves doesn't cost a
/// write for every session in it.
fn queued(seen: &Observed, place: &Place, template: &Template, now: Timestamp) -> Plan {
    let shown = seen.status.queue.as_ref().map(|queue| queue.ahead);
    let ahead = shown.filter(|shown| place.is_shown_by(*shown)).unwrap_or(place.ahead);
    let sessions = if ahead == 1 { "session" } else { "sessions" };
    let message =
        format!("no {} is free: {ahead} {sessions} ahead, waiting since {}", template.gpu.name(), place.since);
    let status = VDISessionStatus {
        pod_name: None,
        queue: Some(QueueStatus { ahead, ..queue_status(place) }),
        ..status(seen, Reason::Queued, message, now)
    };
    Plan::publish(status).wake_by(Some(after(now, LOOK_AGAIN)))
}

fn queue_status(place: &Place) -> QueueStatus {
    QueueStatus { ahead: place.ahead, since: Time(place.since) }
}

/// Somebody else deleted the pod. Once it is gone, the session gets a new one.
pub fn leaving(seen: &Observed, why: Reason, now: Timestamp) -> Plan {
    match seen.status.phase {
        // The pod never had a node, the session was put in the queue, or this is published already.
        Phase::Pending => Plan::publish(seen.status.clone()),
        _ => lost(seen, why, now),
    }
}

fn lost(seen: &Observed, why: Reason, now: Timestamp) -> Plan {
    let message = match why {
        Reason::Preempted => "its pod was preempted by one of a higher priority; starting a new one",
        Reason::Evicted => "its pod was evicted from its node; starting a new one",
        Reason::NodeLost => {
            "its node does not respond; a new pod starts once the node is gone, back, or marked out of service"
        }
        Reason::PodDeleted => "its pod was deleted; starting a new one",
        _ => "its pod is gone; starting a new one",
    };
    Plan::publish(VDISessionStatus { pod_name: None, ..status(seen, why, message.to_owned(), now) })
}

/// The pod has a node and isn't ready.
pub fn starting(seen: &Observed, trouble: Option<&Trouble>, now: Timestamp) -> Plan {
    if let Some(Trouble::Crash { crashes: crashes @ CRASHES.., words, .. }) = trouble {
        return fail(seen, Reason::CrashLoop, format!("crashed {crashes} times; the last time with {words}"), now);
    }
    let was_up = match seen.status.phase {
        Phase::Running => true,
        Phase::Creating => acceleration::was_looked_at(&seen.status),
        _ => false,
    };
    let (reason, message) = match trouble {
        Some(trouble) => describe(seen, trouble),
        None if was_up => (Reason::NotResponding, "the desktop does not respond; its pod is still there".to_owned()),
        None => (Reason::Starting, "the desktop is starting".to_owned()),
    };
    if was_up {
        return Plan::publish(status(seen, reason, message, now));
    }
    let deadline = match &seen.status {
        // A published deadline stays.
        VDISessionStatus { phase: Phase::Creating, expires_at: Some(deadline), .. } => deadline.0,
        // By the same clock that will end it, not that of another machine.
        _ => after(now, start_deadline(seen)),
    };
    if now >= deadline {
        return fail(seen, Reason::StartDeadlineExceeded, format!("did not start by {deadline}: {message}"), now);
    }
    let status = VDISessionStatus {
        pod_name: Some(desktop_pod::pod_name(&seen.name)),
        template_generation: seen.pinned.as_ref().map(|pinned| pinned.template_generation),
        ..status(seen, reason, message, now)
    };
    // The session's own end may come first, for a desktop that restarts.
    let end = deadline::of_session(seen, &seen.status).filter(|end| end.at < deadline);
    let (expires_at, expiry) = end.map_or((deadline, Expiry::StartDeadline), |end| (end.at, end.expiry));
    let status = VDISessionStatus { expires_at: Some(Time(expires_at)), expiry: Some(expiry), ..status };
    Plan { wake: Some(deadline), ..Plan::publish(status) }
}

/// The kubelet's message changes with every attempt to pull an image, and is published only once.
fn describe(seen: &Observed, trouble: &Trouble) -> (Reason, String) {
    match trouble {
        Trouble::Image(words) => {
            let message = || format!("the desktop's image can't be pulled: {words}");
            (Reason::ImagePullFailed, seen.message_of(Reason::ImagePullFailed).map_or_else(message, str::to_owned))
        }
        Trouble::Container(words) => (Reason::ContainerFailed, format!("the desktop can't be started: {words}")),
        Trouble::Crash { crashes, out_of_memory, words } => {
            let reason = if *out_of_memory { Reason::OutOfMemory } else { Reason::DesktopCrashed };
            let memory = seen.spec.as_ref().map_or_else(|_| String::new(), |spec| format!(" of {}", spec.memory));
            let what = match out_of_memory {
                true => format!("the desktop exceeded its memory limit{memory}"),
                false => "the desktop crashed".to_owned(),
            };
            (reason, format!("{what} and is restarting ({crashes} of {}): {words}", CRASHES - 1))
        }
    }
}

fn start_deadline(seen: &Observed) -> Duration {
    seen.pinned.as_ref().map_or(DEFAULT_START_DEADLINE, |pinned| pinned.start_deadline.duration())
}

/// Nothing has happened yet. That costs no write, since Pending is the default; nor does it while the status still says that the pod
/// was lost and is being replaced.
fn waiting(seen: &Observed, now: Timestamp) -> VDISessionStatus {
    match seen.reason() {
        None => seen.status.clone(),
        Some(reason) if reason.is_loss_of_pod() => seen.status.clone(),
        Some(_) => status(seen, Reason::Scheduling, "waiting for a node with a free GPU".to_owned(), now),
    }
}
