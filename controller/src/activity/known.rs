//! What gateways have told, kept: one that is gone has not told it in vain.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Idle;
use crate::clock::whole_seconds;

/// What one gateway answers. In seconds back from the answer, so that its clock doesn't matter.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    /// Who answers: another one at the same address is another gateway.
    replica: String,
    /// No input comes through it any more, so nothing is missed when it is gone.
    #[serde(default)]
    is_over: bool,
    /// How long ago each session, by uid, had its last input through this gateway.
    #[serde(default)]
    last_input: HashMap<String, f64>,
}

/// Where a gateway is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub address: SocketAddr,
    pub path: String,
    /// Whether it is among the gateways that new connections are led to. One that is told to stop is not, and may pass on what
    /// is open for a while.
    pub is_listed: bool,
}

/// What all gateways answered to the same question.
pub struct Answered {
    pub answers: Vec<(Place, Result<Answer, String>)>,
    /// Whether everywhere is known where one is.
    pub are_all: bool,
    /// When the first was asked, and the last had answered.
    pub asked: Instant,
    pub answered: (Instant, Timestamp),
}

/// By the monotonic clock: a jump of the other one must make nobody idle.
#[derive(Default)]
pub struct Known {
    /// When all gateways had been heard for the first time, or one was given up later: of input before that, some may have gone
    /// through a gateway that nobody can ask any more.
    since: Option<Instant>,
    /// Until when input is known: all gateways have told.
    as_of: Option<Instant>,
    last_input: HashMap<String, Instant>,
    /// Those that aren't over, as far as is known.
    replicas: HashMap<String, Replica>,
    /// The same moment by both clocks.
    moment: Option<(Instant, Timestamp)>,
}

struct Replica {
    place: Place,
    /// When it was asked what it answered last.
    heard: Instant,
    /// Whether its place still answered when it was asked last.
    answers: bool,
}

/// A gateway that hasn't answered for so long, and is not said to be there, is gone: it is twice the time that Kubernetes gives a
/// pod to end, and longer than it takes until a lost node's pods aren't listed. Until then it may be passing on input, so that
/// nobody gets idle; afterwards, everybody gets the whole idle timeout again, by when those who were at it are at another one.
const GONE: Duration = Duration::from_secs(60);

impl Known {
    /// What is known of a session; nothing, until all gateways have answered once.
    pub fn idle(&self, uid: &str) -> Option<Idle> {
        let (since, as_of) = (self.since?, self.as_of?);
        let last_input = self.last_input.get(uid).copied().unwrap_or(since).max(since);
        // The end of idleness is published in whole seconds: a fraction would differ from that for ever.
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

    /// As long as both clocks go alike, the same moment stays the same time, to the nanosecond.
    fn compare_clocks(&mut self, now: Instant, time: Timestamp) {
        const ALIKE: SignedDuration = SignedDuration::from_secs(1);
        let is_off = self.time_at(now).is_none_or(|expected| expected.duration_since(time).abs() > ALIKE);
        if is_off {
            self.moment = Some((now, time));
        }
    }

    /// Where gateways are to be asked besides those places: they aren't listed any more, and still answered last time.
    pub fn not_listed_any_more(&self, listed: &[Place]) -> Vec<Place> {
        let is_listed = |place: &Place| listed.iter().any(|listed| listed.address == place.address);
        let replicas = self.replicas.values().filter(|replica| replica.answers && !is_listed(&replica.place));
        replicas.map(|replica| Place { is_listed: false, ..replica.place.clone() }).collect()
    }

    /// Takes in what was answered about the sessions that there are. Whether idleness is known now, and wasn't before.
    pub fn take(&mut self, answered: Answered, sessions: &HashSet<String>) -> bool {
        let Answered { answers, are_all: mut is_complete, asked, answered: (now, time) } = answered;
        self.replicas.values_mut().for_each(|replica| replica.answers = false);
        for (place, answer) in answers {
            match answer {
                // Another one may have got the address of one that is gone.
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
                "a gateway is gone and did not tell all that it saw; nobody counts as idle until now"
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
            // What isn't a length of time makes nobody idle for longer: either it was just now, or it says nothing.
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
