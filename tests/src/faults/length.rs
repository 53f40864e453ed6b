use std::time::Duration;

/// How long a run takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// For every run of the tests.
    Short,
    /// For a night.
    Long,
}

impl Length {
    /// How many sessions there are at most.
    pub fn sessions(self) -> usize {
        self.either(40, 200)
    }

    /// How often users do something once the faults are over.
    pub fn actions(self) -> usize {
        self.either(40, 500)
    }

    /// How long each kind of fault lasts.
    pub fn storm(self) -> Duration {
        Duration::from_millis(self.either(1500, 8000))
    }

    /// How long nothing may be asked for once it is calm.
    pub fn silence(self) -> Duration {
        Duration::from_secs(self.either(3, 60))
    }

    pub fn either<T>(self, short: T, long: T) -> T {
        if self == Self::Short { short } else { long }
    }
}
