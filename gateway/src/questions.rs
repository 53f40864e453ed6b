//! How much is asked of others at the same time because somebody, who may be anybody, asks this gateway. Who comes when that is
//! much already is told to come again, so that nobody can make it flood them.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Each takes milliseconds, or seconds where something is wrong; then more would make it worse.
const MOST: usize = 32;

/// Whom this gateway asks in somebody's name.
#[derive(Debug, Default)]
pub struct Questions {
    /// Whose token is shown, and whether they may open a session.
    pub api_server: Asked,
    /// Where people sign in.
    pub provider: Asked,
}

#[derive(Debug)]
pub struct Asked(Semaphore);

impl Default for Asked {
    fn default() -> Self {
        Self(Semaphore::new(MOST))
    }
}

impl Asked {
    /// Leave to ask, until it is dropped. `None` when there is too much under way.
    pub fn once_more(&self) -> Option<SemaphorePermit<'_>> {
        self.0.try_acquire().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_asked_at_once_of_either_and_more_once_there_are_answers() {
        let questions = Questions::default();
        let mut asked: Vec<_> = (0..MOST).map(|_| questions.api_server.once_more().unwrap()).collect();
        assert!(questions.api_server.once_more().is_none());
        assert!(questions.provider.once_more().is_some());
        asked.pop();
        assert!(questions.api_server.once_more().is_some());
    }
}
