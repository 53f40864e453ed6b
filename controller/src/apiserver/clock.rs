//! The time, without trusting any one clock: sessions end by it, and a wrong clock would end them all.
//!
//! There are three readings, and the median is taken: the API server's clock (the `Date` of its latest answer, carried on), this
//! machine's, and the last result, carried on. One clock that jumps, however far, is outvoted; a jump that two clocks agree on, as when
//! a suspended machine resumes, is followed.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use jiff::{SignedDuration, Timestamp, fmt::rfc2822};

/// `Date` is in whole seconds, so a smaller difference means nothing. Time never goes back by so little: a session that has ended
/// would not have ended a moment later.
const GRAIN: SignedDuration = SignedDuration::from_secs(2);

#[derive(Default)]
pub struct Clock(Mutex<Readings>);

impl Clock {
    pub fn now(&self) -> Timestamp {
        self.readings().now(Timestamp::now(), Instant::now())
    }

    /// Sets the API server's reading from the `Date` header of an answer of the API server, as in `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
    pub fn set(&self, date: &str) {
        static PARSER: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new();
        if let Ok(time) = PARSER.parse_timestamp(date) {
            self.readings().set(time, Instant::now());
        }
    }

    fn readings(&self) -> std::sync::MutexGuard<'_, Readings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time, carried on by the monotonic clock.
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
struct Readings {
    api_server: Option<Reading>,
    /// `None` until the API server has answered: its clock is the reference, and this machine's gets no second vote.
    last: Option<Reading>,
}

impl Readings {
    fn set(&mut self, time: Timestamp, at: Instant) {
        self.api_server = Some(Reading { time, at });
    }

    fn now(&mut self, wall: Timestamp, at: Instant) -> Timestamp {
        let Some(api_server) = self.api_server.map(|reading| reading.carried_on(at)) else { return wall };
        let time = match self.last.map(|reading| reading.carried_on(at)) {
            None => api_server,
            Some(last) => {
                let median = median([api_server, wall, last]);
                let is_a_little_back = median < last && last.duration_since(median) < GRAIN;
                if is_a_little_back { last } else { median }
            }
        };
        self.last = Some(Reading { time, at });
        time
    }
}

fn median(mut times: [Timestamp; 3]) -> Timestamp {
    times.sort();
    times[1]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vdi_planner::{fixture::noon, model::time::whole_seconds};

    use super::*;

    const DAY: i64 = 24 * 60 * 60;

    /// Steps are ten seconds apart: how far off the API server's clock (where it answers) and this machine's are, in seconds, and how far
    /// off the result must be.
    fn check(name: &str, steps: &[(Option<i64>, i64, i64)]) {
        let (mut readings, start) = (Readings::default(), Instant::now());
        for (n, (api_server, wall, last)) in steps.iter().enumerate() {
            let passed = Duration::from_secs(10 * n as u64);
            let off = |seconds: i64| noon() + passed + SignedDuration::from_secs(seconds);
            if let Some(seconds) = api_server {
                readings.set(off(*seconds), start + passed);
            }
            assert_eq!(readings.now(off(*wall), start + passed), off(*last), "{name}, step {n}");
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
    fn time_does_not_go_back_by_less_than_the_date_header_resolves() {
        check("", &[(Some(0), 0, 0), (Some(-1), -1, 0), (Some(-1), -1, 0)]);
        check("", &[(Some(0), 0, 0), (Some(-2), -2, -2)]);
    }

    #[test]
    fn the_date_header_is_read_and_nonsense_in_it_ignored() {
        let clock = Clock::default();
        clock.set("yesterday");
        assert!(clock.readings().api_server.is_none());
        clock.set("Thu, 01 Jan 2026 12:00:00 GMT");
        assert_eq!(whole_seconds(clock.now()), noon());
    }
}
