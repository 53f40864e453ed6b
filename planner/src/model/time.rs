//! Arithmetic with times that saturates: users choose durations, and none may make the controller panic.

use std::time::Duration;

use jiff::Timestamp;

/// Kubernetes keeps times in whole seconds.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// How long until `moment`; zero once it has passed.
pub fn until(moment: Timestamp, now: Timestamp) -> Duration {
    moment.duration_since(now).try_into().unwrap_or(Duration::ZERO)
}

pub fn after(start: Timestamp, length: Duration) -> Timestamp {
    start.checked_add(length).unwrap_or(Timestamp::MAX)
}

pub fn before(end: Timestamp, length: Duration) -> Timestamp {
    end.checked_sub(length).unwrap_or(Timestamp::MIN)
}
