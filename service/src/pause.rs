//! The backoff before an interrupted watch restarts.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// Exponential. Short, because sessions are neglected in the meantime; never zero, because all clients return to an API server at
/// once after it was down.
pub struct Pause {
    longest: Duration,
    next: Duration,
}

const SHORTEST: Duration = Duration::from_millis(500);

impl Pause {
    /// Starts at half a second and doubles up to `longest`.
    pub fn up_to(longest: Duration) -> Self {
        Self { longest, next: SHORTEST }
    }
}

impl Iterator for Pause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (2 * pause).min(self.longest);
        Some(pause)
    }
}

impl Backoff for Pause {
    fn reset(&mut self) {
        self.next = SHORTEST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_the_longest_and_is_short_again_after_a_success() {
        let mut pause = Pause::up_to(Duration::from_secs(4));
        let millis: Vec<_> = pause.by_ref().take(5).map(|pause| pause.as_millis()).collect();
        assert_eq!(millis, [500, 1000, 2000, 4000, 4000]);
        pause.reset();
        assert_eq!(pause.next(), Some(SHORTEST));
    }
}
