//! What gateways have answered, remembered also of those that are gone.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use vdi_planner::model::{Idle, time::whole_seconds};

/// What one gateway answers. Times are in seconds before the answer, so that its clock doesn't matter. A newer gateway may say more.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Which gateway answers: another one may have the same address later.
    replica: String,
    /// It forwards no more input, so nothing is lost when it goes.
    #[serde(default)]
    is_over: bool,
    /// How long ago each session, by uid, had its last input through this gateway. Never left out: sessions end by it.
    last_input: HashMap<String, f64>,
}

/// Where a gateway answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub address: SocketAddr,
    pub path: String,
    /// Whether new connections are led to it. A gateway that is stopping gets none, and may serve open ones for a while.
    pub is_listed: bool,
}

/// What all gateways answered in one round.
pub struct Answered {
    pub answers: Vec<(Place, Result<Answer, String>)>,
    /// Whether all of their addresses are known.
    pub are_all: bool,
    /// When the first was asked, and the last had answered.
    pub asked: Instant,
    pub answered: (Instant, Timestamp),
}

/// Measured by the monotonic clock: a jump of the wall clock must make no session idle.
#[derive(Default)]
pub struct Known {
    /// When all gateways had first answered, or when one was last given up: earlier input may have passed through a gateway that can
    /// no longer be asked.
    since: Option<Instant>,
    /// Until when input is known, from all gateways.
    as_of: Option<Instant>,
    last_input: HashMap<String, Instant>,
    /// The gateways that may still forward input.
    replicas: HashMap<String, Replica>,
    /// The same moment by both clocks.
    moment: Option<(Instant, Timestamp)>,
}

struct Replica {
    place: Place,
    /// When it was last asked with success.
    heard: Instant,
    /// Whether it answered in the last round.
    answers: bool,
}

/// A gateway that hasn't answered for this long is gone: it is twice the time that Kubernetes gives a pod to end, and longer than a
/// lost node's pods stay listed. Until then it may be forwarding input, so no session becomes idle; afterwards every session gets
/// its whole idle timeout again, by which time its users have reconnected to another gateway.
const GONE: Duration = Duration::from_secs(60);

impl Known {
    /// How long a session has been idle; `None` until all gateways have answered once.
    pub fn idle(&self, uid: &str) -> Option<Idle> {
        let (since, as_of) = (self.since?, self.as_of?);
        let last_input = self.last_input.get(uid).copied().unwrap_or(since).max(since);
        // Published in whole seconds: a fraction would always differ from what was published.
        let next = self.time_at(last_input)?.checked_add(SignedDuration::from_nanos(999_999_999)).ok()?;
        Some(Idle { since: whole_seconds(next), as_of: self.time_at(as_of)? })
    }

    fn time_at(&self, at: Instant) -> Option<Timestamp> {
        let (instant, time) = self.moment?;
        match at.checked_duration_since(instant) {
            Some(later) => time.checked_add(later).ok(),
            None => time.checked_sub(instant.duration_since(at)).ok(),
        }
    }

    /// While both clocks agree, a moment keeps its time, to the nanosecond.
    fn compare_clocks(&mut self, now: Instant, time: Timestamp) {
        const ALIKE: SignedDuration = SignedDuration::from_secs(1);
        let is_off = self.time_at(now).is_none_or(|expected| expected.duration_since(time).abs() > ALIKE);
        if is_off {
            self.moment = Some((now, time));
        }
    }

    /// The gateways that are no longer listed and still answered in the last round.
    pub fn not_listed_any_more(&self, listed: &[Place]) -> Vec<Place> {
        let is_listed = |place: &Place| listed.iter().any(|listed| listed.address == place.address);
        let replicas = self.replicas.values().filter(|replica| replica.answers && !is_listed(&replica.place));
        replicas.map(|replica| Place { is_listed: false, ..replica.place.clone() }).collect()
    }

    /// Takes in a round of answers about the sessions that exist. Returns whether idleness has just become known.
    pub fn take(&mut self, answered: Answered, sessions: &HashSet<String>) -> bool {
        let Answered { answers, are_all: mut is_complete, asked, answered: (now, time) } = answered;
        self.replicas.values_mut().for_each(|replica| replica.answers = false);
        for (place, answer) in answers {
            match answer {
                // A stranger at an address that is no longer listed isn't a gateway of ours.
                Ok(answer) if place.is_listed || self.replicas.contains_key(&answer.replica) => {
                    self.hear(&answer, now, sessions);
                    match answer.is_over {
                        true => drop(self.replicas.remove(&answer.replica)),
                        false => {
                            drop(self.replicas.insert(answer.replica, Replica { place, heard: asked, answers: true }))
                        }
                    }
                }
                _ => is_complete &= !place.is_listed,
            }
        }
        for (replica, _) in self.replicas.extract_if(|_, replica| now.saturating_duration_since(replica.heard) >= GONE)
        {
            tracing::warn!(
                replica,
                "a gateway is gone and may have seen input that nobody knows of; no session counts as idle before now"
            );
            self.since = self.since.map(|_| now);
        }
        is_complete &= self.replicas.values().all(|replica| replica.answers);
        self.last_input.retain(|uid, _| sessions.contains(uid));
        self.compare_clocks(now, time);
        if is_complete {
            self.as_of = Some(asked);
        }
        let begins = is_complete && self.since.is_none();
        if begins {
            self.since = Some(asked);
        }
        begins
    }

    fn hear(&mut self, answer: &Answer, now: Instant, sessions: &HashSet<String>) {
        for (uid, seconds) in answer.last_input.iter().filter(|(uid, _)| sessions.contains(*uid)) {
            // An invalid duration makes no session idle for longer: negative counts as just now, and others are ignored.
            let ago = Duration::try_from_secs_f64(seconds.max(0.0)).ok();
            if let Some(at) = ago.and_then(|ago| now.checked_sub(ago)) {
                let last = self.last_input.entry(uid.clone()).or_insert(at);
                *last = at.max(*last);
            }
        }
    }
}

#[cfg(test)]
mod tests;
