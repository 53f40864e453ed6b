//! How long is waited before an interrupted watch is begun again.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// Short, as what isn't seen isn't looked after, and never none, as an API server that is coming back is asked by everybody.
pub struct Pause {
    longest: Duration,
    next: Duration,
}

const SHORTEST: Duration = Duration::from_millis(500);

impl Pause {
    /// Half a second at first, and then twice as long each time.
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
