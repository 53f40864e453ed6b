use std::time::Duration;

/// How long a run takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// For each test run.
    Short,
    /// For a night.
    Long,
}

impl Length {
    /// The most sessions at a time.
    pub fn sessions(self) -> usize {
        self.either(40, 200)
    }

    /// The number of user actions after the faults.
    pub fn actions(self) -> usize {
        self.either(40, 500)
    }

    /// How long each kind of fault lasts.
    pub fn storm(self) -> Duration {
        Duration::from_millis(self.either(1500, 8000))
    }

    /// How long the controller must make no requests once everything has settled.
    pub fn silence(self) -> Duration {
        Duration::from_secs(self.either(3, 60))
    }

    pub fn either<T>(self, short: T, long: T) -> T {
        if self == Self::Short { short } else { long }
    }
}
