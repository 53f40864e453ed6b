//! What time it is, without being at the mercy of one clock: by it sessions end, and a wrong one would end them all.
//!
//! There are three opinions, and the one in the middle holds: the API server's (the `Date` of its latest answer, and how
//! long ago that was), this machine's, and what was said last and how long ago. A jump of one clock, however far, is
//! outvoted; a jump that two agree on, as when a suspended machine resumes, is followed.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp, fmt::rfc2822};

/// `Date` is in whole seconds, so a difference below this says nothing. Time never goes back by so little: a session that
/// has ended would not have, a moment later.
const GRAIN: SignedDuration = SignedDuration::from_secs(2);

#[derive(Default)]
pub struct Clock(Mutex<Opinions>);

impl Clock {
    pub fn now(&self) -> Timestamp {
        self.opinions().now(Timestamp::now(), Instant::now())
    }

    /// Takes the `Date` header of an answer of the API server, as in `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
    pub fn heard(&self, date: &str) {
        static PARSER: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new();
        if let Ok(time) = PARSER.parse_timestamp(date) {
            self.opinions().heard(time, Instant::now());
        }
    }

    fn opinions(&self) -> std::sync::MutexGuard<'_, Opinions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the monotonic clock carries on.
#[derive(Clone, Copy)]
struct Reading {
    time: Timestamp,
    at: Instant,
}

impl Reading {
    fn carried_on(self, at: Instant) -> Timestamp {
        self.time.checked_add(at.saturating_duration_since(self.at)).unwrap_or(self.time)
    }
}

#[derive(Default)]
struct Opinions {
    api_server: Option<Reading>,
    /// `None` until the API server was heard: the cluster's clock is the reference, and this machine's has no second vote.
    said: Option<Reading>,
}

impl Opinions {
    fn heard(&mut self, time: Timestamp, at: Instant) {
        self.api_server = Some(Reading { time, at });
    }

    fn now(&mut self, wall: Timestamp, at: Instant) -> Timestamp {
        let Some(api_server) = self.api_server.map(|reading| reading.carried_on(at)) else { return wall };
        let time = match self.said.map(|reading| reading.carried_on(at)) {
            None => api_server,
            Some(said) => {
                let median = median([api_server, wall, said]);
                let is_a_little_back = median < said && said.duration_since(median) < GRAIN;
                if is_a_little_back { said } else { median }
            }
        };
        self.said = Some(Reading { time, at });
        time
    }
}

fn median(mut times: [Timestamp; 3]) -> Timestamp {
    times.sort();
    times[1]
}

/// Kubernetes keeps times in whole seconds.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// How long until a moment; zero when it is past.
pub fn until(moment: Timestamp, now: Timestamp) -> Duration {
    moment.duration_since(now).try_into().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::noon;

    const DAY: i64 = 24 * 60 * 60;

    /// Each step comes ten seconds after the one before: how far the API server's clock (where it is heard) and this
    /// machine's are off, in seconds, and how far off what is said must be.
    fn check(name: &str, steps: &[(Option<i64>, i64, i64)]) {
        let (mut opinions, start) = (Opinions::default(), Instant::now());
        for (n, (api_server, wall, said)) in steps.iter().enumerate() {
            let passed = Duration::from_secs(10 * n as u64);
            let off = |seconds: i64| noon() + passed + SignedDuration::from_secs(seconds);
            if let Some(seconds) = api_server {
                opinions.heard(off(*seconds), start + passed);
            }
            assert_eq!(opinions.now(off(*wall), start + passed), off(*said), "{name}, step {n}");
        }
    }

    #[test]
    fn a_jump_of_one_clock_changes_nothing_and_one_that_two_agree_on_is_followed() {
        for day in [DAY, -DAY] {
            let heard = Some;
            check("this machine jumps", &[(heard(0), 0, 0), (heard(0), day, 0), (None, day, 0), (heard(0), 0, 0)]);
            check("the API server jumps", &[(heard(0), 0, 0), (heard(day), 0, 0), (None, 0, 0), (heard(0), 0, 0)]);
            check("both jump", &[(heard(0), 0, 0), (heard(day), day, day), (heard(day), day, day)]);
            check("one after the other", &[(heard(0), 0, 0), (heard(0), day, 0), (heard(day), day, day)]);
            check("this machine was wrong from the start", &[(heard(0), day, 0), (heard(0), day, 0)]);
            check("no answer yet", &[(None, 0, 0), (None, day, day)]);
            check("the first answer wins", &[(None, day, day), (heard(0), day, 0), (None, day, 0)]);
            check("silence is no opinion", &[(heard(0), 0, 0), (None, day, 0), (None, -day, 0)]);
        }
    }

    #[test]
    fn time_does_not_go_back_by_what_the_date_header_can_not_tell() {
        check("", &[(Some(0), 0, 0), (Some(-1), -1, 0), (Some(-1), -1, 0)]);
        check("", &[(Some(0), 0, 0), (Some(-2), -2, -2)]);
    }

    #[test]
    fn the_date_header_is_read_and_nonsense_in_it_ignored() {
        let clock = Clock::default();
        clock.heard("yesterday");
        assert!(clock.opinions().api_server.is_none());
        clock.heard("Thu, 01 Jan 2026 12:00:00 GMT");
        assert_eq!(whole_seconds(clock.now()), noon());
    }
}
