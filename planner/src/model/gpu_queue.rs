use jiff::Timestamp;

/// A session's place in the queue for GPUs.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// How many sessions are ahead of it.
    pub ahead: i64,
    /// Since when it waits.
    pub since: Timestamp,
    /// Whether it is first, and so may have a pod.
    pub may_start: bool,
}

impl Place {
    /// Whether the number that its status shows is close enough: exact for the first ten places, then to within a quarter. A queue
    /// that moves would otherwise cost a write for every session in it.
    pub fn is_shown_by(&self, shown: i64) -> bool {
        shown == self.ahead || self.ahead > 10 && shown > self.ahead && shown - self.ahead <= shown / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::noon;

    #[test]
    fn a_long_queue_is_shown_in_steps() {
        let shows = |shown: i64, ahead: i64| Place { ahead, since: noon(), may_start: false }.is_shown_by(shown);
        assert!(shows(3, 3) && !shows(3, 2) && !shows(2, 3));
        assert!(shows(100, 80) && !shows(100, 70) && !shows(100, 101));
        let (mut last, mut writes) = (1000, 0);
        for ahead in (0..1000).rev() {
            if !shows(last, ahead) {
                (last, writes) = (ahead, writes + 1);
            }
        }
        assert!(writes < 40, "{writes}");
    }
}
